"""The one encode of a film: shots are drawn one after the other and flow through a pipe into a single encoder.

Each shot is drawn by an ffmpeg of its own, which holds two pictures at most, so memory does not grow with the film.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from tabario.clients.ffmpeg import FFmpeg, read_file, read_picture, read_pipe
from tabario.clients.ffmpeg.binary import Progress
from tabario.errors import MergeFailed
from tabario.film.encoders import Encoder
from tabario.film.fonts import Fonts
from tabario.film.motion import Motion, joined_planes, moving_planes, window
from tabario.film.stretches import watching
from tabario.film.timeline import FPS, Shot
from tabario.formats import FrameSize

COLOURS: Final = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"

_PIPE_BYTES: Final = 1024 * 1024  # a third of a frame; the usual 64 KiB make both ends wait for each other

STRETCHES: Final = "stretches.txt"
"""Where black and frozen stretches are noted, in the directory of the materials."""

MotionChoice = Callable[[int], Motion]


@dataclass(frozen=True, slots=True)
class Materials:
    """What a film is made of. All files stand in `directory`, where ffmpeg runs, so that no name needs quoting."""

    directory: Path
    frame: FrameSize
    pictures: tuple[str, ...]
    shots: tuple[Shot, ...]
    motions: MotionChoice
    voice: str
    subtitles: str
    fonts: Fonts
    encoder: Encoder


async def encode_film(ffmpeg: FFmpeg, materials: Materials, output: str, on_progress: Progress) -> None:
    """Writes the film to the file `output` in the directory of the materials.

    `on_progress` is called with the seconds of film done. Raises MergeFailed; the file may then be incomplete.
    """
    with ExitStack() as ends:
        reading, writing = os.pipe()
        with suppress(OSError):  # beyond what this user may have; then it is slower
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        ends.callback(os.close, reading)
        close_writing = ends.enter_context(ExitStack())
        close_writing.callback(os.close, writing)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(encode, ffmpeg, materials, output, reading, on_progress)
                await _draw_shots(ffmpeg, materials, writing)
                close_writing.close()  # the encoder sees the end of the film
        except ExceptionGroup as group:
            if failures := group.subgroup(MergeFailed):
                raise _first(failures) from None
            raise


def _first(group: BaseExceptionGroup[MergeFailed]) -> MergeFailed:
    failure = group.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure


async def _draw_shots(ffmpeg: FFmpeg, materials: Materials, writing: int) -> None:
    before = None
    for shot in materials.shots:
        await ffmpeg.run(draw_arguments(materials, shot, before), cwd=materials.directory, stdout=writing)
        before = shot


def draw_arguments(materials: Materials, shot: Shot, before: Shot | None) -> list[str]:
    """Arguments that draw one shot as raw frames on standard output. Without a fade the shot before is not needed."""
    shown = window(materials.motions(shot.index), materials.frame, length=shot.on_screen)
    inputs = read_picture(Path(materials.pictures[shot.index]), fps=FPS)
    graph = [moving_planes("[0:v]", "new", shown, frames=shot.frames, size=materials.frame, fps=FPS)]
    if before is not None and shot.fade > 0:
        motion = materials.motions(before.index)
        left = window(motion, materials.frame, length=before.on_screen, first=before.frames)
        inputs += read_picture(Path(materials.pictures[before.index]), fps=FPS)
        graph.append(moving_planes("[1:v]", "old", left, frames=shot.fade, size=materials.frame, fps=FPS))
        graph.append(joined_planes("old", "new", fade=shot.fade / FPS))
    else:
        graph.append(joined_planes("new", None, fade=0))
    return [
        *inputs,
        *("-filter_complex", ";".join(graph), "-map", "[frame]"),
        *("-frames:v", str(shot.frames), "-f", "rawvideo", "pipe:1"),
    ]


async def encode(ffmpeg: FFmpeg, materials: Materials, output: str, reading: int, on_progress: Progress) -> None:
    """Encodes the raw frames that come from the file descriptor `reading`, with words and voice."""
    graph = f"[0:v]ass={materials.subtitles},{COLOURS},split[film][watched];[watched]{watching(STRETCHES)},nullsink"
    await ffmpeg.run(
        [
            *read_pipe(width=materials.frame.width, height=materials.frame.height, fps=FPS),
            *read_file(Path(materials.voice)),
            *("-filter_complex", graph, "-map", "[film]", "-map", "1:a:0"),
            *materials.encoder.arguments,
            *("-c:a", "copy", "-map_metadata", "-1", "-movflags", "+faststart"),
            *("-f", "mp4", output),
        ],
        cwd=materials.directory,
        stdin=reading,
        on_progress=on_progress,
        environment=materials.fonts.environment(materials.directory),
    )
