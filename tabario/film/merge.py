"""The merge: pictures, words and voiceover become one film, which is examined before it appears under its name."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread

from tabario.clients.ffmpeg import FFmpeg
from tabario.errors import FilmRefused, MergeFailed
from tabario.film.burning import Typesetting, write_ass
from tabario.film.encoders import SOFTWARE, Encoder
from tabario.film.encoding import STRETCHES, Materials, MotionChoice, encode_film
from tabario.film.gate import CLOCK_TOLERANCE, Examination, Expectation, Report, examine_film
from tabario.film.loudness import level_voice
from tabario.film.movement import Movement, choose_movement, choose_movements
from tabario.film.mp4 import read_mp4
from tabario.film.music import lay_music
from tabario.film.stills import Still, prepare_picture
from tabario.film.stretches import Scenery, read_stretches
from tabario.film.timeline import Shot, lay_out
from tabario.formats import FrameSize
from tabario.scenes import Word
from tabario.settings import Quality

logger = logging.getLogger(__name__)

_MIX, _SOUND, _WORDS, _PART = "mix.wav", "sound.m4a", "words.ass", "film.part"
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SOUND_SHARE, _ENCODE_SHARE = 0.05, 0.92  # of the progress; the checks take the rest


@dataclass(frozen=True, slots=True)
class FilmFacts:
    """What was measured on the finished film: seconds, pixels, LUFS, dBTP, bytes."""

    duration: float
    width: int
    height: int
    frames: int
    loudness: float
    true_peak: float
    byte_count: int


@dataclass(frozen=True, slots=True)
class FilmOrder:
    """What a film is made of. `duration` is the voiceover's, in seconds; it is the clock.

    Without `motions` each picture moves as it is seen to move.
    """

    stills: Sequence[Still]
    words: Sequence[Word]
    audio: Path
    duration: float
    frame: FrameSize
    setting: Typesetting
    music: Path | None = None
    motions: MotionChoice | None = None
    encoder: Encoder = SOFTWARE[Quality.STANDARD]


async def merge_film(  # noqa: PLR0913 - a film goes through this many hands
    order: FilmOrder,
    *,
    work_dir: Path,
    destination: Path,
    ffmpeg: FFmpeg,
    on_progress: Callable[[float], Awaitable[None]],
    on_report: Callable[[Report], Awaitable[None]],
) -> FilmFacts:
    """Makes the film, examines it and returns what was measured.

    `work_dir` takes the work files and must be on the file system of `destination`, which appears complete or not at
    all. `on_progress` is called with numbers from 0 to 1, `on_report` with the gate's report; neither may raise.
    Raises MergeFailed, and FilmRefused when the film did not pass the gate.
    """
    part = work_dir / _PART
    shots = tuple(lay_out(order.stills, order.duration))

    async def report_encoded(seconds: float) -> None:
        await on_progress(_SOUND_SHARE + _ENCODE_SHARE * min(1.0, seconds / order.duration))

    try:
        with _disk_full_explained():
            await to_thread.run_sync(lambda: work_dir.mkdir(parents=True, exist_ok=True))
            await _prepare_sound(ffmpeg, order, work_dir)
            await on_progress(_SOUND_SHARE)
            prepared = await to_thread.run_sync(_prepare, order, shots, work_dir)
            movements = list(prepared.values())
            materials = Materials(
                directory=work_dir,
                frame=order.frame,
                pictures=tuple(prepared),
                shots=shots,
                motions=lambda index: movements[index].motion,
                voice=_SOUND,
                subtitles=_WORDS,
                fonts=order.setting.fonts,
                encoder=order.encoder,
            )
            await encode_film(ffmpeg, materials, _PART, report_encoded)
            examined = await examine_film(ffmpeg, part, _expect(order, movements, work_dir))
            await on_report(examined.report)
            if not examined.report.passed:
                raise FilmRefused(f"The finished film was refused: {examined.report.problem}.")
            facts = _facts(examined, byte_count=(await to_thread.run_sync(part.stat)).st_size)
            await to_thread.run_sync(part.replace, destination)
    finally:
        part.unlink(missing_ok=True)
    await on_progress(1.0)
    return facts


async def merge_twice(  # noqa: PLR0913 - as above
    order: FilmOrder,
    fallback: Encoder,
    *,
    work_dir: Path,
    destination: Path,
    ffmpeg: FFmpeg,
    on_progress: Callable[[float], Awaitable[None]],
    on_report: Callable[[Report], Awaitable[None]],
) -> FilmFacts:
    """As `merge_film`; a film that is refused is made once more from the start, with the `fallback` as its encoder.

    So is one that another encoder could not make: a chip may have worked a moment ago and be busy now.
    """
    merge = partial(
        merge_film,
        work_dir=work_dir,
        destination=destination,
        ffmpeg=ffmpeg,
        on_progress=on_progress,
        on_report=on_report,
    )
    try:
        return await merge(order)
    except MergeFailed as failure:
        if not isinstance(failure, FilmRefused) and order.encoder == fallback:
            raise
        logger.warning("%s It is made once more.", failure)
        return await merge(replace(order, encoder=fallback))


async def _prepare_sound(ffmpeg: FFmpeg, order: FilmOrder, work_dir: Path) -> None:
    source, sound = order.audio, work_dir / _SOUND
    if order.music is not None:
        source = work_dir / _MIX
        await lay_music(ffmpeg, order.audio, order.music, source, duration=order.duration)
    await level_voice(ffmpeg, source, sound)
    heard = (await to_thread.run_sync(read_mp4, sound)).audio.duration
    if abs(heard - order.duration) > CLOCK_TOLERANCE:
        raise MergeFailed(f"The voiceover lasts {heard:.2f} s, but {order.duration:.2f} s were planned.")


def _prepare(order: FilmOrder, shots: Sequence[Shot], work_dir: Path) -> dict[str, Movement]:
    """Writes the pictures and the subtitles into the work directory; names each picture with how it moves."""
    write_ass(order.words, order.frame, order.setting, work_dir / _WORDS)
    names = [f"picture-{number:03d}.ppm" for number in range(1, len(order.stills) + 1)]
    looks = (
        (prepare_picture(still.path, work_dir / name, order.frame), shot.on_screen)
        for name, still, shot in zip(names, order.stills, shots, strict=True)
    )
    if order.motions is None:
        movements = choose_movements(looks, order.frame)
    else:
        movements = [
            choose_movement(look, [order.motions(index)], order.frame, length=length)
            for index, (look, length) in enumerate(looks)
        ]
    return dict(zip(names, movements, strict=True))


def _expect(order: FilmOrder, movements: Sequence[Movement], work_dir: Path) -> Expectation:
    scenes = [
        Scenery(still.start, still.end, movement.excuses)
        for still, movement in zip(order.stills, movements, strict=True)
    ]
    return Expectation(
        frame=order.frame,
        duration=order.duration,
        words=order.words,
        scenes=scenes,
        stretches=read_stretches(work_dir / STRETCHES, order.duration),
        subtitles=work_dir / _WORDS,
        setting=order.setting,
    )


def _facts(examined: Examination, *, byte_count: int) -> FilmFacts:
    found, loudness = examined.facts, examined.loudness
    return FilmFacts(
        duration=found.duration,
        width=found.video.width,
        height=found.video.height,
        frames=found.video.sample_count,
        loudness=loudness.integrated,
        true_peak=loudness.true_peak,
        byte_count=byte_count,
    )


@contextmanager
def _disk_full_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise MergeFailed("The disk is full: the film could not be written.") from None
        raise
