"""Single frames of a finished film, as pictures."""

from __future__ import annotations

from pathlib import Path

from tabario.clients.ffmpeg import FFmpeg, read_file


async def grab_frame(ffmpeg: FFmpeg, film: Path, second: float, destination: Path) -> None:
    """Writes the frame that is seen at `second` as a picture, in the format that the name says; after the end, none."""
    await ffmpeg.run(
        [
            *("-threads", "1", "-ss", f"{max(0.0, second):.3f}"),
            *read_file(film),
            *("-frames:v", "1", "-update", "1", "-f", "image2", str(destination)),
        ]
    )
