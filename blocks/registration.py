"""The blocks of a deployment, made from its settings."""

from __future__ import annotations

from prefect.blocks.core import Block
from prefect_redis import RedisDatabase

from blocks.comfyui import ComfyUI
from blocks.media import MediaStoreLocation
from blocks.voice import VoiceService
from tabario import names
from tabario.settings import Settings


def blocks_of(settings: Settings) -> dict[str, Block]:
    """Every block that a flow run loads, by `slug/name`."""
    named: tuple[tuple[str, Block], ...] = (
        (names.COMFYUI_BLOCK, ComfyUI.from_settings(settings.comfyui)),
        (names.VOICE_BLOCK, VoiceService.from_settings(settings.voice)),
        (names.MEDIA_STORE_BLOCK, MediaStoreLocation.from_settings(settings.media, settings.api)),
        (names.REDIS_BLOCK, RedisDatabase(connection_url=settings.redis.url)),
    )
    return {f"{block.get_block_type_slug()}/{name}": block for name, block in named}
