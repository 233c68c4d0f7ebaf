"""H.264 encoders: the machine's own chip where ffmpeg has one that works, else x264 at a chosen quality."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.timeline import FPS, GROUP_FRAMES
from tabario.settings import Quality

logger = logging.getLogger(__name__)

_PROBE_SECONDS: Final = 20.0
_COMMON: Final = ("-profile:v", "high", "-pix_fmt", "yuv420p", "-g", str(GROUP_FRAMES))


@dataclass(frozen=True, slots=True)
class Encoder:
    """What ffmpeg calls an encoder, and its settings."""

    name: str
    settings: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """For ffmpeg's output."""
        return ("-c:v", self.name, *self.settings, *_COMMON)


# CPU time of veryfast is 1: superfast takes 0.7, medium 3. VMAF on painted pictures: 96.0, 95.6, 97.3.
SOFTWARE: Final = {
    Quality.DRAFT: Encoder("libx264", ("-preset", "superfast", "-crf", "23")),
    Quality.STANDARD: Encoder("libx264", ("-preset", "veryfast", "-crf", "20")),
    Quality.HIGH: Encoder("libx264", ("-preset", "medium", "-crf", "18")),
}

HARDWARE: Final = (
    Encoder("h264_nvenc", ("-preset", "p5", "-rc", "vbr", "-cq", "21", "-b:v", "0")),
    Encoder("h264_qsv", ("-preset", "medium", "-global_quality", "21")),
    Encoder("h264_amf", ("-quality", "balanced", "-rc", "cqp", "-qp_i", "20", "-qp_p", "22")),
    Encoder("h264_videotoolbox", ("-q:v", "65")),
)


async def find_encoder(
    ffmpeg: FFmpeg, quality: Quality, *, hardware: bool, candidates: Sequence[Encoder] = HARDWARE
) -> Encoder:
    """The first of `candidates` that encodes something here, if `hardware` is wanted; else x264 at `quality`.

    That ffmpeg lists an encoder says nothing about the machine, so each is tried out on a second of a test picture.
    """
    for candidate in candidates if hardware else ():
        if await _works(ffmpeg, candidate):
            logger.info("films are encoded by %s", candidate.name)
            return candidate
    return SOFTWARE[quality]


async def _works(ffmpeg: FFmpeg, encoder: Encoder) -> bool:
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FPS}:duration=1")
    return await ffmpeg.can([*picture, *encoder.arguments, "-f", "null", "-"], timeout=_PROBE_SECONDS)
