"""Aspect ratios and resolutions, and the frame size that each pair means."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class VideoFormat(StrEnum):
    """Aspect ratio, width to height."""

    PORTRAIT = "9:16"
    LANDSCAPE = "16:9"
    SQUARE = "1:1"


class Resolution(StrEnum):
    """The short side of the frame."""

    P480 = "480p"
    P720 = "720p"
    P1080 = "1080p"


class FrameSize(NamedTuple):
    """Width and height in pixels, both even."""

    width: int
    height: int


_PORTRAIT: Final[dict[Resolution, FrameSize]] = {
    Resolution.P480: FrameSize(480, 854),
    Resolution.P720: FrameSize(720, 1280),
    Resolution.P1080: FrameSize(1080, 1920),
}


def frame_size(video_format: VideoFormat, resolution: Resolution) -> FrameSize:
    """Size of the film's frame in pixels."""
    portrait = _PORTRAIT[resolution]
    match video_format:
        case VideoFormat.PORTRAIT:
            return portrait
        case VideoFormat.LANDSCAPE:
            return FrameSize(portrait.height, portrait.width)
        case VideoFormat.SQUARE:
            return FrameSize(portrait.width, portrait.width)
