"""Times for the words of a known script when the voice engine tells none.

Words take time by their length. That guess is held against the pauses of the recording: each pause that fits the end
of a clause pins that end to the second.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from tabario.scenes import Word
from tabario.script import Break, Token, tokens
from tabario.waveform import Pause

SHORTEST_PAUSE: Final = 0.12  # seconds; the closure before a "p" or "t" is shorter

_EPSILON: Final = 1e-9  # seconds: rounding must not put a word on the wrong side of a pause
_UNUSED_PAUSE: Final = 1.5  # cost per second of a pause that ends no clause
_SILENT_BREAK: Final = {Break.CLAUSE: 0.5, Break.SENTENCE: 0.8}  # cost of an end without a pause


class _Pin(NamedTuple):
    """A moment that is certain: how much was said until then, by weight, and after how many seconds of sound."""

    weight: float
    sound: float


class _Path(NamedTuple):
    """The cheapest way to have paired some clauses with some pauses: its cost, its last pin, the way before it."""

    cost: float
    pin: _Pin
    before: _Path | None = None

    def pins(self) -> list[_Pin]:
        """All pins from the first."""
        path: _Path | None = self
        found: list[_Pin] = []
        while path:
            found.append(path.pin)
            path = path.before
        return found[::-1]


class _Sound:
    """The recording without its pauses: converts between seconds of sound and seconds of the recording."""

    def __init__(self, duration: float, pauses: Sequence[Pause]) -> None:
        self.length = duration - sum(pause.length for pause in pauses)
        self._lengths = [0.0, *accumulate(pause.length for pause in pauses)]
        self.cuts = [pause.start - before for pause, before in zip(pauses, self._lengths, strict=False)]

    def start(self, sound: float) -> float:
        """Where a word starts in the recording: after a pause that falls on this moment."""
        return sound + self._lengths[bisect_right(self.cuts, sound + _EPSILON)]

    def end(self, sound: float) -> float:
        """Where a word ends in the recording: before such a pause."""
        return sound + self._lengths[bisect_left(self.cuts, sound - _EPSILON)]


def align(script: str, duration: float, *, pauses: Sequence[Pause] = ()) -> tuple[Word, ...]:
    """Every word of the script with its seconds in a recording of `duration` seconds.

    `pauses` are those of the recording, `Waveform.pauses(shortest=SHORTEST_PAUSE)`; without them the times are
    a guess from the lengths of the words alone.
    """
    words = tokens(script)
    sound = _Sound(duration, pauses)
    if sound.length <= 0:
        sound, pauses = _Sound(duration, ()), ()
    said = [0.0, *accumulate(word.weight for word in words)]
    pins = _pins(words, said, sound, pauses)
    moments = _interpolate(said, pins)
    return tuple(
        Word(text=word.text, start=sound.start(start), end=max(sound.end(end), sound.start(start)))
        for word, (start, end) in zip(words, pairwise(moments), strict=True)
    )


def _interpolate(said: Sequence[float], pins: Sequence[_Pin]) -> list[float]:
    """Seconds of sound at each weight, straight between the pins."""
    moments: list[float] = []
    weights = [pin.weight for pin in pins]
    for weight in said:
        right = min(max(bisect_left(weights, weight), 1), len(pins) - 1)
        before, after = pins[right - 1], pins[right]
        share = (weight - before.weight) / (after.weight - before.weight)
        moments.append(before.sound + share * (after.sound - before.sound))
    return moments


def _pins(words: Sequence[Token], said: Sequence[float], sound: _Sound, pauses: Sequence[Pause]) -> list[_Pin]:
    """Start, end, and every end of a clause that has a pause of its own, in order.

    Clauses and pauses are paired as texts are compared: either may be left out at a cost.
    """
    clauses = [
        (said[index], _SILENT_BREAK[word.break_after])
        for index, word in enumerate(words[:-1], 1)
        if word.break_after is not Break.WORD
    ]
    heard = [
        (cut, _UNUSED_PAUSE * pause.length)
        for cut, pause in zip(sound.cuts, pauses, strict=True)
        if 0 < cut < sound.length
    ]
    rate = sound.length / said[-1]
    row = [_Path(0.0, _Pin(0.0, 0.0))]
    for _, unused in heard:
        row.append(row[-1]._replace(cost=row[-1].cost + unused))
    for weight, silent in clauses:
        above, row = row, [row[0]._replace(cost=row[0].cost + silent)]
        for column, (cut, unused) in enumerate(heard):
            paired = _extend(above[column], _Pin(weight, cut), rate)
            silent_clause = above[column + 1]._replace(cost=above[column + 1].cost + silent)
            unused_pause = row[column]._replace(cost=row[column].cost + unused)
            row.append(min(paired, silent_clause, unused_pause, key=lambda path: path.cost))
    return [*row[-1].pins(), _Pin(said[-1], sound.length)]


def _extend(path: _Path, pin: _Pin, rate: float) -> _Path:
    """The way with one more pin; it costs by how much the speech between the two pins is off its usual rate."""
    usual = (pin.weight - path.pin.weight) * rate
    seconds = pin.sound - path.pin.sound
    return _Path(path.cost + abs(seconds - usual) / math.sqrt(max(usual, 0.1)), pin, path)
