"""Who speaks the script."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice import VoiceEngine, open_voice
from tabario.settings import VoiceEngineName, VoiceSettings


class VoiceService(Block):
    """The embedded voice, or an HTTP voice service."""

    _block_type_name: ClassVar[str] = "Voice Service"
    _block_type_slug: ClassVar[str] = "tabario-voice-service"
    _description: ClassVar[str] = "The voice engine that speaks the script."

    engine: VoiceEngineName = Field(description="Kind of engine.")
    fallbacks: tuple[VoiceEngineName, ...] = Field(default=(), description="Engines that take over, in order.")
    url: str | None = Field(default=None, description="Address of the HTTP voice service.")
    api_key: SecretStr | None = Field(default=None, description="Bearer key of the HTTP voice service.")
    model: str = Field(description="Model of the HTTP voice service.")
    voice: str = Field(description="Voice of the HTTP voice service when a job names none.")
    timeout: float = Field(gt=0, description="Seconds until the HTTP voice service counts as timed out.")

    @classmethod
    def from_settings(cls, settings: VoiceSettings) -> Self:
        """The block that says what the settings say."""
        return cls(**{name: getattr(settings, name) for name in VoiceSettings.model_fields})

    def open(self, ffmpeg: FFmpeg) -> AbstractAsyncContextManager[VoiceEngine]:
        """The voice engine, to be entered by the caller."""
        fields = {name: getattr(self, name) for name in VoiceSettings.model_fields}
        return open_voice(VoiceSettings(**fields), ffmpeg)
