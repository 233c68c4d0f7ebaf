"""The script as the voice speaks it: its words, how strongly each breaks from the next, and how long each takes to say.

A word is what stands between white space; text without spaces (Chinese, Japanese) is divided after its punctuation.
"""

# ruff: noqa: RUF001 - the punctuation of many scripts is what this module is about

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from typing import Final, NamedTuple

_FULL_WIDTH_STOPS: Final = "。！？｡"
_FULL_WIDTH_COMMAS: Final = "、，；：､"
_SENTENCE_ENDS: Final = frozenset(".!?…؟।॥" + _FULL_WIDTH_STOPS)
_CLAUSE_ENDS: Final = frozenset(",;:–—،؛" + _FULL_WIDTH_COMMAS)
_CLOSERS: Final = "\"')]}»”’›」』）】*_"
_WORD: Final = re.compile(
    rf"[^\s{_FULL_WIDTH_STOPS}{_FULL_WIDTH_COMMAS}]*[{_FULL_WIDTH_STOPS}{_FULL_WIDTH_COMMAS}]+[{re.escape(_CLOSERS)}]*"
    r"|\S+"
)
_ABBREVIATION: Final = re.compile(
    r"""(?: approx|capt|col|dept|dr|gen|jr|lt|mr|mrs|ms|mt|nr|prof|rev|sgt|sr|st|vol|vs  # English
          | bzw|ca|evtl|ggf|inkl|str|tel|usw                                             # German
          | dhr|dott|fr|mevr|mlle|mme|np|resp|sig|sra|tj|tzn|tzv                         # others in Latin
          | г|им|стр|ул )\.""",
    re.VERBOSE,
)
_LIST_NUMBER: Final = re.compile(r"\d{1,2}\.")
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)+")

_DIGIT_WEIGHT: Final = 4.0  # a digit is a word
_SYMBOL_WEIGHT: Final = 4.0  # so is "%" or "$"
_IDEOGRAPH_WEIGHT: Final = 3.0  # a syllable, where a letter is about a third of one
_WORD_WEIGHT: Final = 1.0  # even a word that is only a dash takes a moment


class Break(IntEnum):
    """How strongly a word is set apart from the next one."""

    WORD = 0
    CLAUSE = 1
    SENTENCE = 2


class Token(NamedTuple):
    """A word as it stands in the script: `script[start:stop] == text`."""

    text: str
    start: int
    stop: int
    break_after: Break

    @property
    def weight(self) -> float:
        """How long the word takes to say, in letters."""
        return _WORD_WEIGHT + spoken_length(self.text)


def tokens(script: str) -> tuple[Token, ...]:
    """The words of the script in order. The last one ends a sentence, whatever it looks like."""
    matches = list(_WORD.finditer(script))
    found: list[Token] = []
    first_of_sentence = True
    for match, following in zip(matches, [*matches[1:], None], strict=False):
        gap = script[match.end() : following.start()] if following else ""
        after = following.group() if following else None
        strength = _break_after(match.group(), gap, after, first_of_sentence=first_of_sentence)
        found.append(Token(match.group(), match.start(), match.end(), strength))
        first_of_sentence = strength is Break.SENTENCE
    return tuple(found)


def spoken_length(text: str) -> float:
    """How long a text takes to say, in letters: digits and symbols are words, an ideograph is a syllable."""
    return sum(_character_length(character) for character in text)


def _character_length(character: str) -> float:
    category = unicodedata.category(character)
    if category[0] == "N":
        return _DIGIT_WEIGHT
    if category[0] == "S":
        return _SYMBOL_WEIGHT
    if category == "Lo" and unicodedata.east_asian_width(character) == "W":
        return _IDEOGRAPH_WEIGHT
    return 1.0 if category[0] == "L" else 0.0


def _break_after(word: str, gap: str, following: str | None, *, first_of_sentence: bool) -> Break:
    if following is None or gap.count("\n") > 1:
        return Break.SENTENCE
    bare = word.rstrip(_CLOSERS)
    last = bare[-1:]
    if last in _SENTENCE_ENDS and not (
        last == "." and _dot_is_part_of(bare, following, first_of_sentence=first_of_sentence)
    ):
        return Break.SENTENCE
    return Break.CLAUSE if last in _CLAUSE_ENDS or "\n" in gap else Break.WORD


def _dot_is_part_of(bare: str, following: str, *, first_of_sentence: bool) -> bool:
    """Whether the dot belongs to an abbreviation, an initial or a list number, so that no sentence ends."""
    name = bare.lstrip("\"'([{«„“‘‹¿¡").casefold()
    return (
        following[0].islower()
        or _ABBREVIATION.fullmatch(name) is not None
        or _INITIALS.fullmatch(name) is not None
        or (first_of_sentence and _LIST_NUMBER.fullmatch(name) is not None)
    )
