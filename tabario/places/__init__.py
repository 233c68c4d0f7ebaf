"""Places in the queues of ComfyUI servers: which picture of which job goes where next, the same for all workers."""

from tabario.places.places import WEIGHTS, Places, Turn

__all__ = ["WEIGHTS", "Places", "Turn"]
