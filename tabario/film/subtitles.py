"""Subtitles: which words stand on the screen together, and SRT and VTT files of them.

Times are seconds from the film's start.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import accumulate, pairwise
from math import inf
from typing import Final

from pysubs2 import SSAEvent, SSAFile

from tabario.scenes import Word

MAX_WORDS: Final = 4
MAX_CHARACTERS: Final = 22
MAX_WORD: Final = 40  # a longer one, such as an address, would be too small to read on one line
_WIDE: Final = 2.75  # narrow characters
_PAUSE: Final = 0.6  # a silence of this many seconds begins a new cue
_HOLD: Final = 0.4  # a cue stays for this many seconds after its last word, unless the next one comes sooner
_SENTENCE_ENDS: Final = (".", "!", "?", "…", ":", ";", "。", "！", "？", "؟", "।")  # noqa: RUF001 - of many scripts
_CLOSING: Final = "\"')»”\u2019」』）"  # noqa: RUF001 - of many scripts

_PIECE: Final = 4  # characters of a text without spaces that are highlighted together
_OPENING: Final = r"(\[{«“‘「『（【《〈"  # noqa: RUF001 - of many scripts
_NEVER_LAST: Final = re.compile(f"[{_OPENING}]")
_NEVER_FIRST: Final = re.compile(rf"(?![{_OPENING}])[\Wぁぃぅぇぉっゃゅょァィゥェォッャュョー々]")

_ASS_SYNTAX: Final = str.maketrans({"{": "(", "}": ")", "\\": "/"})
_LIKE_BRACKETS: Final = str.maketrans({"<": "\u2039", ">": "\u203a"})
_PICTOGRAMS: Final = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f]+"
)
_UNSEEN: Final = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff\u200b]")  # they could reorder the text around them


@dataclass(frozen=True, slots=True)
class Cue:
    """Words that stand on the screen together, from `start` to `end`."""

    words: tuple[Word, ...]
    start: float
    end: float

    @property
    def text(self) -> str:
        """The words as a reader sees them."""
        return "".join(f"{space}{word.text}" for space, word in zip(self.spaces, self.words, strict=True))

    @property
    def spaces(self) -> list[str]:
        """What stands before each word: nothing within a text without spaces."""
        pairs = pairwise(word.text for word in self.words)
        return ["", *("" if _is_wide(before[-1]) and _is_wide(after[0]) else " " for before, after in pairs)]


def plain_text(text: str) -> str:
    """Text that means itself in every subtitle format: no ASS syntax, line breaks, control characters or pictograms."""
    text = _UNSEEN.sub("", _PICTOGRAMS.sub("", text.translate(_ASS_SYNTAX)))
    shown = "".join(" " if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} else char for char in text)
    nothing_seen = all(unicodedata.category(char) in {"Cf", "Zs"} for char in shown)
    return "" if nothing_seen else " ".join(shown.split())


def readable_words(words: Sequence[Word]) -> list[Word]:
    """The words that have anything to show, in order. No word begins before the one before it or ends before itself."""
    readable: list[Word] = []
    earliest = 0.0
    for word in words:
        if text := plain_text(word.text):
            start = max(earliest, word.start)
            readable.append(Word(text=text, start=start, end=max(start, word.end)))
            earliest = start
    return readable


def group_words(words: Sequence[Word], most: int = MAX_WORDS) -> list[Cue]:
    """Cues of at most `most` words and 22 characters (or one word of up to 40), which end with sentences and at pauses.

    A text without spaces counts its characters nearly threefold, as wide as they are, so that a cue is one line.
    """
    groups: list[list[Word]] = []
    for word in (piece for whole in readable_words(words) for piece in _pieces(whole)):
        if groups and _belongs(word, groups[-1], most):
            groups[-1].append(word)
        else:
            groups.append([word])
    next_starts = [*(group[0].start for group in groups[1:]), inf]
    return [
        Cue(tuple(group), group[0].start, min(group[-1].end + _HOLD, next_start))
        for group, next_start in zip(groups, next_starts, strict=False)
    ]


def _pieces(word: Word) -> list[Word]:
    """A word of a text without spaces, or one that is too long, in pieces, each with its share of the time."""
    if any(map(_is_wide, word.text)):
        texts = _breakable_texts(word.text)
    elif len(word.text) > MAX_WORD:
        texts = [word.text[start : start + MAX_CHARACTERS] for start in range(0, len(word.text), MAX_CHARACTERS)]
    else:
        return [word]
    texts = [shown for text in texts if (shown := text.strip())]
    share = (word.end - word.start) / len(word.text)
    ends = [word.start + share * length for length in accumulate(map(len, texts))]
    return [
        Word(text=text, start=start, end=end)
        for text, start, end in zip(texts, [word.start, *ends], [*ends[:-1], word.end], strict=False)
    ]


def _breakable_texts(text: str) -> list[str]:
    """No piece begins with what must not begin a line, or ends with what must not end one."""
    texts = [""]
    for char in text:
        full = len(texts[-1]) >= _PIECE and not _NEVER_FIRST.match(char) and not _NEVER_LAST.match(texts[-1][-1])
        breakable = full and (_is_wide(char) or _is_wide(texts[-1][-1]))
        if breakable:
            texts.append(char)
        else:
            texts[-1] += char
    return texts


def _is_wide(char: str) -> bool:
    """Whether a character belongs to a script without spaces. Korean has them."""
    return unicodedata.east_asian_width(char) == "W" and not "\uac00" <= char <= "\ud7af"


def _width(text: str) -> float:
    return sum(_WIDE if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _belongs(word: Word, group: Sequence[Word], most: int) -> bool:
    length = sum(_width(other.text) + (not _is_wide(other.text[-1])) for other in group) + _width(word.text)
    return (
        len(group) < most
        and length <= MAX_CHARACTERS
        and word.start - group[-1].end < _PAUSE
        and not group[-1].text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)
    )


def srt_text(words: Sequence[Word], *, film_seconds: float) -> str:
    """The subtitles as a SubRip file. None stays longer than the film.

    Players read tags in it, but no entities: there is no way to write an angle bracket other than by its like.
    """
    return _cue_file(words, film_seconds, lambda text: text.translate(_LIKE_BRACKETS)).to_string("srt")


def vtt_text(words: Sequence[Word], *, film_seconds: float) -> str:
    """The subtitles as a WebVTT file, which has tags and entities. None stays longer than the film."""
    return _cue_file(words, film_seconds, partial(escape, quote=False)).to_string("vtt")


def _cue_file(words: Sequence[Word], film_seconds: float, write: Callable[[str], str]) -> SSAFile:
    script = SSAFile()
    for cue in group_words(words):
        end = min(cue.end, film_seconds)
        script.append(SSAEvent(start=round(cue.start * 1000), end=round(end * 1000), text=write(cue.text)))
    return script
