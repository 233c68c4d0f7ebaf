"""The gate that a finished film must pass: what was measured on the file, and what it should be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from anyio import to_thread
from pysubs2 import SSAEvent, SSAFile

from tabario.clients.ffmpeg import FFmpeg, read_file
from tabario.clients.ffmpeg.audio import Loudness, measure_loudness
from tabario.film.burning import Typesetting
from tabario.film.lettering import look_at_letters
from tabario.film.loudness import PEAK_LIMIT, TARGET, TOLERANCE
from tabario.film.mp4 import Mp4Facts, read_mp4
from tabario.film.stretches import BLACK_SECONDS, Fault, Scenery, Stretch, read_stretches, unexcused, watching
from tabario.film.subtitles import readable_words
from tabario.film.timeline import FPS, GROUP_FRAMES, count_frames
from tabario.formats import FrameSize
from tabario.scenes import Word

CLOCK_TOLERANCE: Final = 0.05
"""Largest accepted distance between film and voiceover, in seconds."""

_KEY_FRAMES: Final = "key-frames.txt"
_BETWEEN_KEYS: Final = (GROUP_FRAMES + 1) / FPS  # seconds
_FEWEST_PIXELS: Final = 4  # of the spoken word: the smallest at 480p has three times as many
_MOSTLY: Final = 0.6  # of the word and of its outline; heavy noise at 480p leaves three quarters of the smallest words
_HIGHLIGHT: Final = re.compile(r"\{\\c&[^}]*\}(.*?)\{\\c\}")
_OVERRIDE: Final = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement. `found` completes the sentence "The film was refused: ..."."""

    name: str
    found: str
    wanted: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All measurements of a film."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the film may be published."""
        return all(check.holds for check in self.checks)

    @property
    def problem(self) -> str:
        """What is wrong, first things first; empty when nothing is."""
        return "; ".join(check.found for check in self.checks if not check.holds)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the film should be. `stretches` were noted while it was encoded, `subtitles` is the ASS file burned in."""

    frame: FrameSize
    duration: float
    words: Sequence[Word]
    scenes: Sequence[Scenery]
    stretches: Sequence[Stretch]
    subtitles: Path
    setting: Typesetting


@dataclass(frozen=True, slots=True)
class Examination:
    """A report, and the measurements that go on record."""

    report: Report
    facts: Mp4Facts
    loudness: Loudness


async def examine_film(ffmpeg: FFmpeg, film: Path, expected: Expectation) -> Examination:
    """Measures the film. Work files are written beside it. Raises MergeFailed when it cannot even be read."""
    facts = await to_thread.run_sync(read_mp4, film)
    loudness = await measure_loudness(ffmpeg, film)
    stretches = [*expected.stretches, *await _watch_key_frames(ffmpeg, film, expected.duration)]
    checks = (
        *_check_streams(facts, expected),
        *_check_sound(loudness),
        *_check_stretches(stretches, expected.scenes),
        *await to_thread.run_sync(_check_words, expected),
        *await _check_burned_in(ffmpeg, film, expected),
    )
    return Examination(Report(checks), facts, loudness)


def _check_streams(facts: Mp4Facts, expected: Expectation) -> list[Check]:
    """Ffmpeg may lose a picture or half of the sound and report success."""
    video, audio, wanted = facts.video, facts.audio, f"{expected.duration:.3f} s, give or take {CLOCK_TOLERANCE} s"
    frames = count_frames(expected.duration)

    def lasts(seconds: float) -> bool:
        return abs(seconds - expected.duration) <= CLOCK_TOLERANCE

    codecs, size = (video.codec, audio.codec), (video.width, video.height)
    return [
        Check("frames", f"it has {video.sample_count} frames", str(frames), video.sample_count == frames),
        Check("size", f"its picture is {size[0]}x{size[1]}", "{}x{}".format(*expected.frame), size == expected.frame),
        Check("codecs", f"it is in {codecs[0]} and {codecs[1]}", "avc1 and mp4a", codecs == ("avc1", "mp4a")),
        Check("duration", f"it lasts {facts.duration:.3f} s", wanted, lasts(facts.duration)),
        Check("sound", f"its sound lasts {audio.duration:.3f} s", wanted, lasts(audio.duration)),
        Check("faststart", "it can be played while it loads", "yes", holds=True)
        if facts.faststart
        else Check("faststart", "it cannot be played while it loads", "it can", holds=False),
    ]


def _check_sound(loudness: Loudness) -> list[Check]:
    level, peak = loudness.integrated, loudness.true_peak
    wanted = f"{TARGET:g} LUFS, give or take {TOLERANCE} LU"
    return [
        Check("loudness", f"its loudness is {level:.1f} LUFS", wanted, abs(level - TARGET) <= TOLERANCE),
        Check("true peak", f"its true peak is {peak:.1f} dBTP", f"at most {PEAK_LIMIT:g} dBTP", peak <= PEAK_LIMIT),
    ]


def _check_stretches(stretches: Sequence[Stretch], scenes: Sequence[Scenery]) -> list[Check]:
    faults = unexcused(stretches, scenes)
    checks = []
    for fault in Fault:
        seen = [f"from {one.start:.2f} to {one.end:.2f} s" for one in faults if one.fault is fault]
        found = f"it is {fault} {', '.join(seen)}" if seen else f"it is never {fault}"
        checks.append(Check(f"{fault} stretches", found, "none that its pictures do not explain", not seen))
    return checks


def _check_words(expected: Expectation) -> list[Check]:
    """Whether every word is highlighted in its turn."""
    wanted = _letters("".join(word.text for word in readable_words(expected.words)))
    events = SSAFile.load(str(expected.subtitles)).events
    found = _letters("".join(map(_highlighted, events)))
    in_turn = all(before.end <= after.start for before, after in pairwise(events))
    covered = found == wanted and in_turn
    says = "they have every word in its turn" if covered else "its subtitles differ from the script"
    return [Check("subtitles", says, f"all {len(wanted)} letters of the script, one word after the other", covered)]


def _letters(text: str) -> str:
    """Letters, marks and digits, however they are capitalised. Symbols may be left out of subtitles."""
    return "".join(char for char in text.upper() if unicodedata.category(char)[0] in "LMN")


def _highlighted(event: SSAEvent) -> str:
    return _OVERRIDE.sub("", "".join(_HIGHLIGHT.findall(event.text)))


async def _check_burned_in(ffmpeg: FFmpeg, film: Path, expected: Expectation) -> list[Check]:
    """Whether the highlight is seen where the longest word is spoken: without a font ffmpeg burns in nothing."""
    events = SSAFile.load(str(expected.subtitles)).events
    if not events:
        return []
    last = count_frames(expected.duration) - 2
    event = max(events, key=lambda one: (_is_seen(one, last), len(_letters(_highlighted(one)))))
    frame = _middle(event, last)
    letters = await look_at_letters(ffmpeg, film, expected.subtitles, expected.setting, frame=frame)
    share = min(letters.coloured, letters.outlined)
    found = f"{share:.0%} of the {letters.pixels} pixels of the spoken word are seen at {frame / FPS:.2f} s"
    holds = letters.pixels >= _FEWEST_PIXELS and share >= _MOSTLY
    return [Check("burned in", found, f"{_MOSTLY:.0%} of at least {_FEWEST_PIXELS}", holds)]


def _middle(event: SSAEvent, last: int) -> int:
    """The frame in the middle of the event, or the last one that may be looked at."""
    return max(0, min(round((event.start + event.end) / 2000 * FPS), last))


def _is_seen(event: SSAEvent, last: int) -> bool:
    """Whether the event is long enough for its middle to be a frame of its own."""
    return event.start <= _middle(event, last) * 1000 / FPS < event.end


async def _watch_key_frames(ffmpeg: FFmpeg, film: Path, duration: float) -> list[Stretch]:
    """Black and frozen stretches of the file itself, by its key frames: the film was watched while it was encoded.

    Where a stretch ends between two key frames is not known, so it is taken to be as short as it can be.
    """
    report = film.with_name(_KEY_FRAMES)
    look = ("-an", "-vf", watching(report.name, frozen=_BETWEEN_KEYS), "-fps_mode", "passthrough", "-f", "null", "-")
    await ffmpeg.run(["-skip_frame", "nokey", "-skip_loop_filter", "all", *read_file(film), *look], cwd=film.parent)
    seen = await to_thread.run_sync(read_stretches, report, duration)
    return [replace(one, end=max(one.end - _BETWEEN_KEYS, one.start + BLACK_SECONDS)) for one in seen]
