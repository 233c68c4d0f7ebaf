"""The merge: pictures, words and voiceover become one film, which is checked before it appears under its name."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import to_thread

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.ffmpeg.audio import Loudness, measure_loudness
from tabario.errors import MergeFailed
from tabario.film.encoders import SOFTWARE, Encoder
from tabario.film.encoding import Materials, MotionChoice, encode_film
from tabario.film.loudness import PEAK_LIMIT, TARGET, TOLERANCE, level_voice
from tabario.film.motion import choose_motion
from tabario.film.mp4 import Mp4Facts, read_mp4
from tabario.film.stills import Still, prepare_picture
from tabario.film.subtitles import write_ass
from tabario.film.timeline import count_frames, lay_out
from tabario.formats import FrameSize
from tabario.scenes import Word
from tabario.settings import Quality

CLOCK_TOLERANCE: Final = 0.05
"""Largest accepted distance between film and voiceover, in seconds."""

_VOICE, _WORDS, _PART = "voice.m4a", "words.ass", "film.part"
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
    """What a film is made of. `duration` is the voiceover's, in seconds; it is the clock."""

    stills: Sequence[Still]
    words: Sequence[Word]
    audio: Path
    duration: float
    frame: FrameSize
    motions: MotionChoice = choose_motion
    encoder: Encoder = SOFTWARE[Quality.STANDARD]


async def merge_film(
    order: FilmOrder,
    *,
    work_dir: Path,
    destination: Path,
    ffmpeg: FFmpeg,
    on_progress: Callable[[float], Awaitable[None]],
) -> FilmFacts:
    """Makes the film and returns what was measured on it.

    `work_dir` takes the work files and must be on the file system of `destination`, which appears complete or not at
    all. `on_progress` is called with numbers from 0 to 1 and must not raise. Raises MergeFailed.
    """
    part = work_dir / _PART
    shots = tuple(lay_out(order.stills, order.duration))

    async def report_encoded(seconds: float) -> None:
        await on_progress(_SOUND_SHARE + _ENCODE_SHARE * min(1.0, seconds / order.duration))

    try:
        with _disk_full_explained():
            await to_thread.run_sync(lambda: work_dir.mkdir(parents=True, exist_ok=True))
            await _prepare_sound(ffmpeg, order.audio, work_dir / _VOICE, order.duration)
            await on_progress(_SOUND_SHARE)
            pictures = await to_thread.run_sync(_prepare, order, work_dir)
            materials = Materials(
                work_dir,
                order.frame,
                pictures,
                shots,
                order.motions,
                voice=_VOICE,
                subtitles=_WORDS,
                encoder=order.encoder,
            )
            await encode_film(ffmpeg, materials, _PART, report_encoded)
            facts = await _check(ffmpeg, part, order.frame, order.duration)
            await to_thread.run_sync(part.replace, destination)
    finally:
        part.unlink(missing_ok=True)
    await on_progress(1.0)
    return facts


async def _prepare_sound(ffmpeg: FFmpeg, audio: Path, voice: Path, duration: float) -> None:
    await level_voice(ffmpeg, audio, voice)
    heard = (await to_thread.run_sync(read_mp4, voice)).audio.duration
    if abs(heard - duration) > CLOCK_TOLERANCE:
        raise MergeFailed(f"The voiceover lasts {heard:.2f} s, but {duration:.2f} s were planned.")


def _prepare(order: FilmOrder, work_dir: Path) -> tuple[str, ...]:
    """Writes the pictures and the subtitles into the work directory and returns the pictures' names."""
    pictures = tuple(f"picture-{number:03d}.ppm" for number in range(1, len(order.stills) + 1))
    for still, name in zip(order.stills, pictures, strict=True):
        prepare_picture(still.path, work_dir / name, order.frame)
    write_ass(order.words, order.frame, work_dir / _WORDS)
    return pictures


async def _check(ffmpeg: FFmpeg, film: Path, frame: FrameSize, duration: float) -> FilmFacts:
    found = await to_thread.run_sync(read_mp4, film)
    byte_count = (await to_thread.run_sync(film.stat)).st_size
    loudness = await measure_loudness(ffmpeg, film)
    if problem := _find_problem(found, loudness, frame, duration):
        raise MergeFailed(f"The finished film was refused: {problem}.")
    return FilmFacts(
        duration=found.duration,
        width=found.video.width,
        height=found.video.height,
        frames=found.video.sample_count,
        loudness=loudness.integrated,
        true_peak=loudness.true_peak,
        byte_count=byte_count,
    )


def _find_problem(found: Mp4Facts, loudness: Loudness, frame: FrameSize, duration: float) -> str | None:
    """What is wrong with the film, if anything. ffmpeg may lose a picture or half of the sound and report success."""
    video, audio = found.video, found.audio
    checks = {
        f"it has {video.sample_count} frames": video.sample_count == count_frames(duration),
        f"its picture is {video.width}x{video.height}": (video.width, video.height) == frame,
        f"it is in {video.codec} and {audio.codec}": (video.codec, audio.codec) == ("avc1", "mp4a"),
        f"it lasts {found.duration:.3f} s": abs(found.duration - duration) <= CLOCK_TOLERANCE,
        f"its sound lasts {audio.duration:.3f} s": abs(audio.duration - duration) <= CLOCK_TOLERANCE,
        "it cannot be played while it loads": found.faststart,
        f"its loudness is {loudness.integrated:.1f} LUFS": abs(loudness.integrated - TARGET) <= TOLERANCE,
        f"its true peak is {loudness.true_peak:.1f} dBTP": loudness.true_peak <= PEAK_LIMIT,
    }
    return next((problem for problem, holds in checks.items() if not holds), None)


@contextmanager
def _disk_full_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise MergeFailed("The disk is full: the film could not be written.") from None
        raise
