"""Recorded speech as samples: how loud it is, where it pauses, where it ends. Mono 16-bit WAV only.

Times are seconds, levels are decibels below full scale (dBFS).
"""

from __future__ import annotations

import math
import sys
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple, Self

SAMPLE_RATE: Final = 48_000  # Hz, of every voiceover
_FULL_SCALE: Final = 32_768.0
_WINDOW_SECONDS: Final = 0.01
_SPEECH_PERCENTILE: Final = 0.9  # vowels are louder than nine tenths of the windows at most
_SILENCE_BELOW_SPEECH: Final = 35.0  # dB
_SILENCE_FLOOR: Final = -60.0  # dBFS: quieter than this is silent whatever the speech is like
_NOTHING: Final = -120.0  # dBFS of digital silence


class Pause(NamedTuple):
    """A stretch without sound, in seconds from the start."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class Waveform:
    """Mono 16-bit samples at `rate` per second."""

    samples: array[int]
    rate: int = SAMPLE_RATE

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a mono 16-bit WAV. Raises ValueError when it is something else, wave.Error or EOFError when broken."""
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise ValueError("not a mono 16-bit WAV")
            rate = file.getframerate()
            samples = array("h", file.readframes(file.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        return cls(samples, rate)

    def write(self, path: Path) -> None:
        """Writes a WAV beside `path` and renames it, so that nobody sees half of one."""
        aside = path.with_name(f".{path.name}.part")
        samples = self.samples
        if sys.byteorder == "big":
            samples = array("h", samples)
            samples.byteswap()
        try:
            with wave.open(str(aside), "wb") as file:
                file.setparams((1, 2, self.rate, len(samples), "NONE", "not compressed"))
                file.writeframes(samples.tobytes())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate

    @cached_property
    def speech_level(self) -> float:
        """Level of the louder sounds; what the ear takes for the loudness of the speech."""
        if not self._levels:
            return _NOTHING
        return sorted(self._levels)[int(len(self._levels) * _SPEECH_PERCENTILE)]

    def pauses(self, *, shortest: float) -> tuple[Pause, ...]:
        """Every silence of at least `shortest` seconds, also those at the start and at the end."""
        return tuple(pause for pause in self._silences() if pause.length >= shortest)

    def with_tail(self, seconds: float) -> Waveform:
        """The same speech with exactly this much silence after its last sound: cut, or added."""
        pauses = self.pauses(shortest=0.0)
        last_sound = pauses[-1].start if pauses and pauses[-1].end == self.duration else self.duration
        length = round((last_sound + seconds) * self.rate)
        samples = self.samples[:length]
        samples.extend([0] * (length - len(samples)))
        return Waveform(samples, self.rate)

    def _silences(self) -> Iterator[Pause]:
        limit = max(self.speech_level - _SILENCE_BELOW_SPEECH, _SILENCE_FLOOR)
        start: int | None = None
        for index, level in enumerate(self._levels):
            if level < limit:
                start = index if start is None else start
            elif start is not None:
                yield Pause(start * self._window_seconds, index * self._window_seconds)
                start = None
        if start is not None:
            yield Pause(start * self._window_seconds, self.duration)

    @property
    def _window(self) -> int:
        return max(1, round(self.rate * _WINDOW_SECONDS))

    @property
    def _window_seconds(self) -> float:
        return self._window / self.rate

    @cached_property
    def _levels(self) -> list[float]:
        """Root mean square of each window of ten milliseconds, the last one maybe shorter, in dBFS."""
        size = self._window
        return [_level(self.samples[start : start + size]) for start in range(0, len(self.samples), size)]


def _level(samples: array[int]) -> float:
    root_mean_square = math.hypot(*samples) / math.sqrt(len(samples))
    return 20 * math.log10(root_mean_square / _FULL_SCALE) if root_mean_square else _NOTHING
