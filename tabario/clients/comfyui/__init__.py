"""ComfyUI, which paints the pictures."""

from tabario.clients.comfyui.client import ComfyUIClient
from tabario.clients.comfyui.graph import Graph, Nodes
from tabario.clients.comfyui.painting import Painted, Patience, StalePicture
from tabario.clients.comfyui.pool import ComfyUIPool, server_name
from tabario.clients.comfyui.replies import SystemStats
from tabario.clients.comfyui.routes import Observe

__all__ = [
    "ComfyUIClient",
    "ComfyUIPool",
    "Graph",
    "Nodes",
    "Observe",
    "Painted",
    "Patience",
    "StalePicture",
    "SystemStats",
    "server_name",
]
