"""From the marks of an engine to a time for each word of the script.

Engines do not count words as the script does: "in the" may be one mark, "3.50" four, a symbol none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from tabario.scenes import Word
from tabario.script import Token, tokens
from tabario.waveform import Pause

_SLACK: Final = 0.04  # seconds: the level is known in steps of ten milliseconds, and consonants begin softly


def time_words(
    script: str, marks: Iterable[tuple[int, float]], duration: float, pauses: Sequence[Pause]
) -> tuple[Word, ...]:
    """Every word of the script with its seconds. A mark is an offset in the script and the second it is reached.

    A word without a mark shares the time of the one before it; a word ends where the pause after it starts.
    """
    words = tokens(script)
    starts = [*_starts(words, marks, duration), duration]
    return tuple(
        Word(text=word.text, start=start, end=_end_of_sound(start, following, pauses))
        for word, start, following in zip(words, starts, starts[1:], strict=False)
    )


def _starts(words: Sequence[Token], marks: Iterable[tuple[int, float]], duration: float) -> list[float]:
    known = _known_starts(words, marks, duration)
    starts: list[float] = []
    for (index, start), (until, end) in zip(known, [*known[1:], (len(words), duration)], strict=True):
        group = words[index:until]
        total = sum(word.weight for word in group)
        passed = 0.0
        for word in group:
            starts.append(start + (end - start) * passed / total)
            passed += word.weight
    return starts


def _known_starts(
    words: Sequence[Token], marks: Iterable[tuple[int, float]], duration: float
) -> list[tuple[int, float]]:
    """Index and start of each word that has a mark, both rising; the first word always starts the speech."""
    offsets = [word.start for word in words]
    known = [(0, 0.0)]
    for offset, second in marks:
        index = bisect_right(offsets, offset) - 1
        last_index, last_second = known[-1]
        if index > last_index and offset < words[index].stop and last_second < second < duration:
            known.append((index, second))
    return known


def _end_of_sound(start: float, following: float, pauses: Sequence[Pause]) -> float:
    """Where the sound of a word ends: at the last pause that begins after the word and lasts until the next one."""
    index = bisect_right(pauses, following, key=lambda pause: pause.start) - 1
    if index >= 0 and start < pauses[index].start and pauses[index].end >= following - _SLACK:
        return min(pauses[index].start, following)
    return following
