"""ComfyUI, which paints the pictures."""

from tabario.clients.comfyui.client import ComfyUIClient
from tabario.clients.comfyui.graph import Graph, Nodes
from tabario.clients.comfyui.painting import Patience
from tabario.clients.comfyui.replies import SystemStats
from tabario.clients.comfyui.routes import Observe

__all__ = ["ComfyUIClient", "Graph", "Nodes", "Observe", "Patience", "SystemStats"]
