"""Small films, made as the flow makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypedDict, Unpack

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.burning import Typesetting
from tabario.film.encoding import MotionChoice
from tabario.film.fonts import Fonts
from tabario.film.gate import Report
from tabario.film.merge import FilmFacts, FilmOrder, merge_film
from tabario.film.stills import Still
from tabario.formats import FrameSize
from tabario.scenes import Word
from tabario.styles.subtitles import DEFAULT_SUBTITLE_STYLE, SUBTITLE_STYLES
from tests.support.films import paint_still, record_voice, speak_evenly

FRAME = FrameSize(480, 854)
DURATION = 4.21
SCENES = 3
SETTING = Typesetting(Fonts(), SUBTITLE_STYLES[DEFAULT_SUBTITLE_STYLE], "en")
HOSTILE = ["Hello", r"{\pos(0,0)}there", "it's", "50%:", "50[a];", "fine"]


async def ignore(_: float | Report) -> None:
    pass


class Order(TypedDict, total=False):
    """What a test may vary."""

    ffmpeg: FFmpeg
    words: list[Word]
    stills: list[Still]
    audio: Path
    duration: float
    frame: FrameSize
    work_dir: Path
    on_progress: Callable[[float], Awaitable[None]]
    on_report: Callable[[Report], Awaitable[None]]
    setting: Typesetting
    music: Path
    motions: MotionChoice


async def make_film(directory: Path, **order: Unpack[Order]) -> FilmFacts:
    duration, frame = order.get("duration", DURATION), order.get("frame", FRAME)
    return await merge_film(
        FilmOrder(
            order.get("stills") or [paint_still(directory, i, SCENES, frame, duration) for i in range(SCENES)],
            order.get("words", speak_evenly(HOSTILE, duration)),
            order.get("audio") or record_voice(directory / "voice.wav", duration),
            duration=duration,
            frame=frame,
            setting=order.get("setting", SETTING),
            music=order.get("music"),
            motions=order.get("motions"),
        ),
        work_dir=order.get("work_dir", directory / "work"),
        destination=directory / "film.mp4",
        ffmpeg=order.get("ffmpeg") or FFmpeg.find(),
        on_progress=order.get("on_progress", ignore),
        on_report=order.get("on_report", ignore),
    )
