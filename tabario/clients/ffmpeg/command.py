"""Arguments for ffmpeg's inputs.

They allow files and pipes only, so that no media file can make ffmpeg open a network address, and they say the format
where ffmpeg would otherwise trust a file's name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LOCAL_ONLY: Final = ("-protocol_whitelist", "file,pipe")


def read_file(path: Path) -> list[str]:
    """A media file of any format. The prefix keeps names with colons and leading dashes from being taken otherwise."""
    return [*_LOCAL_ONLY, "-i", f"file:{path}"]


def read_picture(path: Path, *, fps: int) -> list[str]:
    """One still picture as a video of one frame. A percent sign in its name is no pattern."""
    return [
        *_LOCAL_ONLY,
        *("-f", "image2", "-pattern_type", "none", "-framerate", str(fps)),
        *("-i", f"file:{path}"),
    ]


def read_pipe(*, width: int, height: int, fps: int) -> list[str]:
    """Raw 4:2:0 frames in bt709, limited range, from standard input."""
    return [
        *_LOCAL_ONLY,
        *("-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", f"{width}x{height}", "-framerate", str(fps)),
        *("-i", "pipe:0"),
    ]
