"""Opens the voice engines that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, assert_never

import httpx

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice.clone import CloneEngine
from tabario.clients.voice.espeak import EspeakEngine
from tabario.clients.voice.fallback import FallbackEngine
from tabario.clients.voice.http import VoiceService
from tabario.clients.voice.openai import OpenAIEngine
from tabario.clients.voice.speech import VoiceEngine
from tabario.errors import ConfigurationError
from tabario.settings import VoiceEngineName, VoiceSettings

_CONNECT_SECONDS: Final = 10.0


@asynccontextmanager
async def open_voice(settings: VoiceSettings, ffmpeg: FFmpeg) -> AsyncIterator[VoiceEngine]:
    """The configured engine, backed by its fallbacks, for as long as the block runs.

    Raises ConfigurationError when a setting is missing.
    """
    async with AsyncExitStack() as stack:
        names = dict.fromkeys((settings.engine, *settings.fallbacks))
        first, *others = [await stack.enter_async_context(_open_engine(name, settings, ffmpeg)) for name in names]
        yield FallbackEngine(first, others) if others else first


@asynccontextmanager
async def _open_engine(name: VoiceEngineName, settings: VoiceSettings, ffmpeg: FFmpeg) -> AsyncIterator[VoiceEngine]:
    if name is VoiceEngineName.ESPEAK:
        yield EspeakEngine(ffmpeg)
        return
    async with open_client(name, settings) as client:
        service = VoiceService(client, timeout=settings.timeout)
        match name:
            case VoiceEngineName.OPENAI:
                yield OpenAIEngine(service, ffmpeg, model=settings.model, voice=settings.voice)
            case VoiceEngineName.CLONE:
                yield CloneEngine(service, ffmpeg)
            case _:
                assert_never(name)


def open_client(name: VoiceEngineName, settings: VoiceSettings) -> httpx.AsyncClient:
    """A client of an engine's service; its paths begin at the root. Raises ConfigurationError without an address.

    OpenAI and those who copy it give their address with /v1 behind it, which the paths have already.
    """
    if not settings.url:
        raise ConfigurationError(
            f"Set TABARIO_VOICE_URL to the address of the voice service: the voice engine {name.value!r} needs one."
        )
    address = settings.url.rstrip("/")
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return httpx.AsyncClient(
        base_url=address.removesuffix("/v1") if name is VoiceEngineName.OPENAI else address,
        headers={"Authorization": f"Bearer {key}"} if key else None,
        timeout=httpx.Timeout(settings.timeout, connect=_CONNECT_SECONDS),
    )
