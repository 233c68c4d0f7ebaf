"""The files that go with a film: a frame to show before it plays, and its subtitles as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from anyio import to_thread
from PIL import Image

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.frames import grab_frame
from tabario.film.subtitles import srt_text, vtt_text
from tabario.records import Companion
from tabario.scenes import Word

_POSTER_QUALITY: Final = 88


async def make_companions(
    ffmpeg: FFmpeg, film: Path, words: Sequence[Word], *, film_seconds: float, poster_second: float
) -> dict[Companion, Path]:
    """Writes the files beside the film. The poster is what is seen at `poster_second`. Raises MergeFailed."""
    paths = {name: film.with_name(name.value) for name in Companion}
    frame = film.with_name("poster.ppm")
    await grab_frame(ffmpeg, film, poster_second, frame)
    await to_thread.run_sync(_save_as_jpeg, frame, paths[Companion.POSTER])
    paths[Companion.SRT].write_text(srt_text(words, film_seconds=film_seconds), encoding="utf-8")
    paths[Companion.VTT].write_text(vtt_text(words, film_seconds=film_seconds), encoding="utf-8")
    return paths


def _save_as_jpeg(picture: Path, destination: Path) -> None:
    with Image.open(picture) as image:
        image.save(destination, format="JPEG", quality=_POSTER_QUALITY)
