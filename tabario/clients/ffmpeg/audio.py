"""Audio: decoding it to plain PCM, counting its samples and measuring its loudness."""

from __future__ import annotations

import math
import re
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio.to_thread

from tabario.clients.ffmpeg.binary import FFmpeg
from tabario.clients.ffmpeg.command import read_file
from tabario.errors import MergeFailed

SAMPLE_RATE: Final = 48_000

_GATE: Final = -70.0  # R 128 measures nothing below this
_INTEGRATED: Final = re.compile(r"I:\s+(-?[\d.]+|-?inf|nan) LUFS")
_TRUE_PEAK: Final = re.compile(r"Peak:\s+(-?[\d.]+|-?inf|nan) dBFS")


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated loudness in LUFS and true peak in dBTP, by EBU R 128. Silence is minus infinity."""

    integrated: float
    true_peak: float


async def decode_audio(
    ffmpeg: FFmpeg,
    source: Path,
    destination: Path,
    *,
    longest: float | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - ffmpeg's, and reported as a failure
) -> float:
    """Decodes the first audio track of `source` to a mono 48 kHz 16-bit WAV and returns its duration in seconds.

    What comes after `longest` seconds is left out: a small file may hold hours. `timeout` is in seconds, too.
    Raises MergeFailed when it cannot be decoded, takes too long or holds no sample.
    """
    limit = () if longest is None else ("-t", f"{longest:.3f}")
    await ffmpeg.run(
        [
            *read_file(source),
            *("-map", "0:a:0", "-vn", "-ac", "1", "-ar", str(SAMPLE_RATE), *limit),
            *("-c:a", "pcm_s16le", "-f", "wav", f"file:{destination}"),
        ],
        timeout=timeout,
    )
    return await anyio.to_thread.run_sync(_duration, destination)


async def measure_loudness(ffmpeg: FFmpeg, source: Path, *, after: str = "anull") -> Loudness:
    """Measures the first audio track of a file, as the filters `after` leave it. Raises MergeFailed."""
    measure = f"{after},ebur128=peak=true:framelog=verbose"
    said = await ffmpeg.run(
        [*read_file(source), "-map", "0:a:0", "-af", measure, "-f", "null", "-"],
        log_level="info",
    )
    return read_loudness(said)


def read_loudness(said: str) -> Loudness:
    """Loudness from the summary that ffmpeg's ebur128 filter writes. Raises MergeFailed when it is not there."""
    integrated, peak = _INTEGRATED.findall(said), _TRUE_PEAK.findall(said)
    if not integrated or not peak:
        raise MergeFailed("The loudness of the audio could not be measured.")
    return Loudness(_level(integrated[-1]), _level(peak[-1]))


def _level(text: str) -> float:
    level = float(text)
    return -math.inf if math.isnan(level) or level <= _GATE else level


def _duration(path: Path) -> float:
    with wave.open(str(path), "rb") as audio:
        frames = audio.getnframes()
    if frames == 0:
        raise MergeFailed("The audio is empty.")
    return frames / SAMPLE_RATE
