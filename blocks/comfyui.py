"""Where ComfyUI is."""

from __future__ import annotations

from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import Field

from tabario.clients.comfyui.client import ComfyUIClient
from tabario.clients.comfyui.painting import Patience
from tabario.clients.comfyui.routes import Observe
from tabario.settings import ComfyUISettings


class ComfyUI(Block):
    """The ComfyUI server that paints the pictures."""

    _block_type_name: ClassVar[str] = "ComfyUI"
    _block_type_slug: ClassVar[str] = "tabario-comfyui"
    _description: ClassVar[str] = "The ComfyUI server that paints the pictures."

    url: str = Field(description="Address of the server.")
    image_timeout: float = Field(gt=0, description="Seconds until a picture counts as timed out.")
    outage_timeout: float = Field(gt=0, description="Seconds that the server may be away.")

    @classmethod
    def from_settings(cls, settings: ComfyUISettings) -> Self:
        """The block that says what the settings say."""
        return cls(**{name: getattr(settings, name) for name in ComfyUISettings.model_fields})

    def open(self, observe: Observe) -> ComfyUIClient:
        """A client, to be entered by the caller. `observe` is told of every HTTP exchange."""
        patience = Patience(image=self.image_timeout, outage=self.outage_timeout)
        return ComfyUIClient(self.url, patience=patience, observe=observe)
