"""Sounds that stand for speech: tones and silences."""

from __future__ import annotations

import math
from array import array
from functools import cache

from tabario.waveform import SAMPLE_RATE, Waveform

_LOUD = 8_000


@cache
def _second_of_tone() -> tuple[int, ...]:
    return tuple(round(_LOUD * math.sin(2 * math.pi * 200 * n / SAMPLE_RATE)) for n in range(SAMPLE_RATE))


def sound(*stretches: float) -> Waveform:
    """A tone for the first number of seconds, silence for the second, a tone for the third, and so on."""
    samples: array[int] = array("h")
    for number, seconds in enumerate(stretches):
        length = round(seconds * SAMPLE_RATE)
        tone = _second_of_tone() * (length // SAMPLE_RATE + 1)
        samples.extend([0] * length if number % 2 else tone[:length])
    return Waveform(samples)
