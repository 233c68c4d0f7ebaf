"""Where the ComfyUI servers are."""

from __future__ import annotations

from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import Field
from redis.asyncio import Redis

from tabario.clients.comfyui import ComfyUIPool, Observe, Patience
from tabario.places.board import Board
from tabario.settings import ComfyUISettings


class ComfyUI(Block):
    """The ComfyUI servers that paint the pictures."""

    _block_type_name: ClassVar[str] = "ComfyUI"
    _block_type_slug: ClassVar[str] = "tabario-comfyui"
    _description: ClassVar[str] = "The ComfyUI servers that paint the pictures."

    url: str = Field(description="Addresses of the servers, separated by commas.")
    places: int = Field(ge=2, description="Prompts that all workers together keep at each server.")
    image_timeout: float = Field(gt=0, description="Seconds until a picture counts as timed out.")
    outage_timeout: float = Field(gt=0, description="Seconds that the server may be away.")

    @classmethod
    def from_settings(cls, settings: ComfyUISettings) -> Self:
        """The block that says what the settings say."""
        return cls(**{name: getattr(settings, name) for name in ComfyUISettings.model_fields})

    def open(self, redis: Redis, observe: Observe) -> ComfyUIPool:
        """The servers, to be entered by the caller. `observe` is told of every HTTP exchange."""
        return ComfyUIPool(
            self.url.split(","),
            board=Board(redis, places=self.places),
            places=self.places,
            patience=Patience(image=self.image_timeout, outage=self.outage_timeout),
            observe=observe,
        )
