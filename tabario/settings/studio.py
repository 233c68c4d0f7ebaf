"""What makes a film: ComfyUI, the voice, and where films and their parts are kept."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from tabario.settings.core import group, parts
from tabario.settings_source import Group


class ComfyUISettings(Group):
    """The ComfyUI servers that paint the pictures."""

    model_config = group(env_prefix="TABARIO_COMFYUI_")

    url: str = Field(description="address of the ComfyUI server, or of several, separated by commas")
    places: int = Field(default=2, ge=2, le=8, description="prompts that all workers together keep at each server")
    image_timeout: float = Field(default=1200, gt=0, description="seconds until a picture counts as timed out")
    outage_timeout: float = Field(default=60, gt=0, description="seconds that the server may be away")

    @field_validator("url")
    @classmethod
    def _addresses(cls, url: str) -> str:
        addresses = [part.strip() for part in url.split(",") if part.strip()]
        if not addresses or not all(re.fullmatch(r"https?://[^\s/]+\S*", address) for address in addresses):
            raise ValueError("each address begins with http:// or https:// and names a host")
        if len(set(addresses)) < len(addresses):
            raise ValueError("the same address stands there twice")
        return ",".join(addresses)

    @property
    def urls(self) -> tuple[str, ...]:
        """The address of each server."""
        return tuple(self.url.split(","))


class VoiceEngineName(StrEnum):
    """The voice engines that can be chosen."""

    ESPEAK = "espeak"
    OPENAI = "openai"
    CLONE = "clone"


class VoiceSettings(Group):
    """The voice that speaks the script."""

    model_config = group(env_prefix="TABARIO_VOICE_")

    engine: VoiceEngineName = Field(
        default=VoiceEngineName.ESPEAK,
        description="espeak (embedded), openai (/v1/audio/speech) or clone (/synthesize/clone_voice)",
    )
    fallbacks: Annotated[tuple[VoiceEngineName, ...], NoDecode] = Field(
        default=(), description="engines that speak when that one cannot, in order, separated by commas"
    )
    url: str | None = Field(
        default=None, description="address of the HTTP voice service, for openai (with or without /v1) and clone"
    )
    api_key: SecretStr | None = Field(default=None, description="bearer key of the HTTP voice service")
    model: str = Field(default="tts-1", description="model name, for openai")
    voice: str = Field(default="alloy", description="default voice, for openai")
    timeout: float = Field(default=120, gt=0, description="seconds until the HTTP voice service counts as timed out")

    @field_validator("fallbacks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return parts(value)


class Quality(StrEnum):
    """How much work x264 puts into a film."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"


class MediaSettings(Group):
    """Films, pictures and the ffmpeg that makes them."""

    model_config = group(env_prefix="TABARIO_MEDIA_")

    root: Path = Field(default=Path(".tabario/media"), description="directory of finished films and kept parts")
    bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*$",
        description="S3-compatible bucket, with a prefix if you like, in place of the directory",
    )
    endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="address of the S3 service; Amazon's own when absent"
    )
    region: str = Field(default="us-east-1", description="region of the bucket")
    access_key: SecretStr | None = Field(default=None, description="access key id of the bucket")
    secret_key: SecretStr | None = Field(
        default=None, validate_default=True, description="secret access key of the bucket"
    )
    keep_films_days: float = Field(
        default=7, ge=1, description="days that films are kept; what is known of a job lives for 7"
    )
    keep_parts_days: float = Field(
        default=7, ge=1, description="days that voiceovers and pictures are kept for use in other jobs"
    )
    quota_gib: float = Field(default=20, gt=0, description="GiB of one user; beyond them the oldest files go")
    ffmpeg: Path | None = Field(default=None, description="an ffmpeg binary; else imageio-ffmpeg's own")
    quality: Quality = Field(
        default=Quality.STANDARD, description="draft, standard or high: how much work x264 puts into a film"
    )
    music: Path | None = Field(default=None, description="directory of music that jobs may choose from by name")
    hardware_encoder: bool = Field(
        default=True, description="use the machine's own encoder where ffmpeg has one that works"
    )

    @field_validator("secret_key")
    @classmethod
    def _goes_with_access_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "access_key" in info.data and (value is None) != (info.data["access_key"] is None):
            raise ValueError("it goes with TABARIO_MEDIA_ACCESS_KEY; set both or neither")
        return value
