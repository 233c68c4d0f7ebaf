"""The film's sound: the voiceover brought to -14 LUFS, with room for the overshoot of AAC.

A measured gain and a limiter come closer than loudnorm, above all on short and peaky voices. The AAC track is made here
and later copied into the film, so that what was measured is what is published.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from tabario.clients.ffmpeg import FFmpeg, read_file
from tabario.clients.ffmpeg.audio import SAMPLE_RATE, Loudness, measure_loudness
from tabario.errors import MergeFailed

TARGET: Final = -14.0
"""Integrated loudness in LUFS."""

TOLERANCE: Final = 0.5
"""Largest accepted distance from the target, in LU."""

PEAK_LIMIT: Final = -1.0
"""Largest accepted true peak, in dBTP."""

_PEAK_AIM: Final = -1.5
_CLOSE_ENOUGH: Final = 0.2
_FIRST_CEILING: Final = -2.5
_CORRECTIONS: Final = 3
_INAUDIBLE: Final = -60.0


async def level_voice(ffmpeg: FFmpeg, source: Path, destination: Path) -> Loudness:
    """Writes `source` as a stereo 48 kHz AAC track (MP4 container) at -14 LUFS and returns what was measured on it.

    The gain is found on plain samples, which is quick, and then corrected on the AAC track where need be.
    Raises MergeFailed when the voiceover is silent.
    """
    before = await measure_loudness(ffmpeg, source)
    if before.integrated < _INAUDIBLE:
        raise MergeFailed("The voiceover is silent.")
    gain, ceiling = TARGET - before.integrated, _FIRST_CEILING
    for _ in range(_CORRECTIONS):
        error = (
            TARGET - (await measure_loudness(ffmpeg, source, after=_chain(gain, ceiling, oversampling=2))).integrated
        )
        if abs(error) <= _CLOSE_ENOUGH:
            break
        gain += error
    reached = await _level(ffmpeg, source, destination, gain=gain, ceiling=ceiling)
    for _ in range(_CORRECTIONS):
        error = TARGET - reached.integrated
        if abs(error) <= _CLOSE_ENOUGH and reached.true_peak <= _PEAK_AIM:
            break
        gain += error
        ceiling -= max(0.0, reached.true_peak - _PEAK_AIM)
        reached = await _level(ffmpeg, source, destination, gain=gain, ceiling=ceiling)
    return reached


def _chain(gain: float, ceiling: float, *, oversampling: int) -> str:
    """Filters that move the whole voiceover by `gain` dB and keep its true peak under `ceiling` dBTP.

    Oversampling lets the limiter see the peaks between samples.
    """
    limit = math.pow(10, ceiling / 20)
    return (
        f"aformat=sample_fmts=fltp:channel_layouts=stereo,volume={gain:.3f}dB,aresample={oversampling * SAMPLE_RATE},"
        f"alimiter=limit={limit:.4f}:attack=2:release=60:level=false:latency=1,aresample={SAMPLE_RATE}"
    )


async def _level(ffmpeg: FFmpeg, source: Path, destination: Path, *, gain: float, ceiling: float) -> Loudness:
    """One attempt, measured."""
    await ffmpeg.run(
        [
            *read_file(source),
            *(
                "-map",
                "0:a:0",
                "-af",
                _chain(gain, ceiling, oversampling=4),
                "-c:a",
                "aac",
                "-aac_coder",
                "fast",
                "-b:a",
                "192k",
            ),
            *("-ar", str(SAMPLE_RATE), "-f", "mp4", f"file:{destination}"),
        ]
    )
    return await measure_loudness(ffmpeg, destination)
