"""Routes that describe the server: /system_stats, /object_info and /features."""

from __future__ import annotations

import platform
import sys
from typing import Any, Final

import psutil
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tabario.embedded.comfyui.listening import FEATURES
from tabario.embedded.comfyui.nodes import NODE_CLASSES
from tabario.embedded.comfyui.standin import StandIn
from tabario.embedded.comfyui.versions import Version


async def show_system(request: Request) -> Response:
    """GET /system_stats. Memory is in bytes."""
    standin: StandIn = request.app.state.standin
    memory = psutil.virtual_memory()
    system: dict[str, Any] = {
        "os": sys.platform,
        "ram_total": memory.total,
        "ram_free": memory.available,
        "comfyui_version": standin.version,
        "required_frontend_version": "0",
        "installed_templates_version": None,
        "required_templates_version": "0",
        "python_version": platform.python_version(),
        "pytorch_version": "none (stand-in)",
        "embedded_python": False,
        "argv": ["tabario.embedded.comfyui"],
    }
    if standin.version.is_strict:
        system |= {"comfy_package_versions": [], "deploy_environment": "stand-in"}
    device = {
        "name": "cpu",
        "type": "cpu",
        "index": None,
        "vram_total": memory.total,
        "vram_free": memory.available,
        "torch_vram_total": memory.total,
        "torch_vram_free": memory.available,
    }
    return JSONResponse({"system": system, "devices": [device]})


async def show_classes(request: Request) -> Response:
    """GET /object_info."""
    return JSONResponse({name: _describe(request, name) for name in NODE_CLASSES})


async def show_class(request: Request) -> Response:
    """GET /object_info/{class}: an empty object when there is no such class."""
    name = request.path_params["name"]
    return JSONResponse({name: _describe(request, name)} if name in NODE_CLASSES else {})


async def show_features(_: Request) -> Response:
    """GET /features."""
    return JSONResponse(FEATURES)


def _describe(request: Request, name: str) -> dict[str, Any]:
    version: Version = request.app.state.standin.version
    return NODE_CLASSES[name].describe(version)


DESCRIPTION_ROUTES: Final = (
    Route("/system_stats", show_system),
    Route("/object_info", show_classes),
    Route("/object_info/{name}", show_class),
    Route("/features", show_features),
)
