"""Subtitles: word by word for burning in, cue by cue for SRT and VTT files. Times are seconds from the film's start."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Final

from PIL import ImageFont
from pysubs2 import Alignment, Color, SSAEvent, SSAFile, SSAStyle

from tabario.film.fonts import FAMILY, font_file
from tabario.formats import FrameSize
from tabario.scenes import Word

MAX_WORDS: Final = 4
MAX_CHARACTERS: Final = 22
_PAUSE: Final = 0.6  # a silence of this many seconds begins a new cue
_HOLD: Final = 0.4  # a cue stays for this many seconds after its last word, unless the next one comes sooner
_SENTENCE_ENDS: Final = (".", "!", "?", "…", ":", ";")
_CLOSING: Final = "\"')»”\u2019"

_HIGHLIGHT: Final = r"{\c&H00D7FF&}"  # gold; ASS writes blue, green, red
_PLAIN: Final = r"{\c}"
_STYLE: Final = "Words"

_ASS_SYNTAX: Final = str.maketrans({"{": "(", "}": ")", "\\": "/"})
_PICTOGRAMS: Final = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f]+"
)
_UNSEEN: Final = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff\u200b]")  # they could reorder the text around them


@dataclass(frozen=True, slots=True)
class Layout:
    """Where and how large the text stands, in pixels of the frame."""

    font_size: int
    outline: float
    left: int
    right: int
    bottom: int

    @classmethod
    def for_frame(cls, frame: FrameSize) -> Layout:
        """Portrait films keep clear of the controls that the platforms lay over the bottom and the right side."""
        width, height = frame
        unit = min(frame) / 1080
        if height > width:
            side = {
                "left": round(width * 110 / 1080),
                "right": round(width * 190 / 1080),
                "bottom": height * 680 // 1920,
            }
            return cls(font_size=round(96 * unit), outline=6 * unit, **side)
        margin = width // 10
        return cls(font_size=round(84 * unit), outline=5 * unit, left=margin, right=margin, bottom=height // 10)


@dataclass(frozen=True, slots=True)
class Cue:
    """Words that stand on the screen together, from `start` to `end`."""

    words: tuple[Word, ...]
    start: float
    end: float

    @property
    def text(self) -> str:
        """The words as a reader sees them."""
        return " ".join(word.text for word in self.words)


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


def group_words(words: Sequence[Word]) -> list[Cue]:
    """Cues of at most 4 words and 22 characters (or one longer word), which end with sentences and at pauses."""
    groups: list[list[Word]] = []
    for word in readable_words(words):
        if groups and _belongs(word, groups[-1]):
            groups[-1].append(word)
        else:
            groups.append([word])
    next_starts = [*(group[0].start for group in groups[1:]), inf]
    return [
        Cue(tuple(group), group[0].start, min(group[-1].end + _HOLD, next_start))
        for group, next_start in zip(groups, next_starts, strict=False)
    ]


def _belongs(word: Word, group: Sequence[Word]) -> bool:
    length = sum(len(other.text) + 1 for other in group) + len(word.text)
    return (
        len(group) < MAX_WORDS
        and length <= MAX_CHARACTERS
        and word.start - group[-1].end < _PAUSE
        and not group[-1].text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)
    )


def write_ass(words: Sequence[Word], frame: FrameSize, destination: Path) -> None:
    """Writes the subtitles that are burned into the film: an event for each word, in which that word is coloured."""
    layout = Layout.for_frame(frame)
    font = ImageFont.truetype(str(font_file()), layout.font_size)
    script = SSAFile()
    script.info |= {
        "PlayResX": str(frame.width),
        "PlayResY": str(frame.height),
        "WrapStyle": "0",
        "ScaledBorderAndShadow": "yes",
        "YCbCr Matrix": "TV.709",
    }
    script.styles = {_STYLE: _style(layout)}
    for cue in group_words(words):
        size = _fitting_size(cue, layout, frame, font)
        edges = [cue.start, *(word.start for word in cue.words[1:]), cue.end]
        for spoken, (start, end) in enumerate(pairwise(edges)):
            text = _highlighted([word.text for word in cue.words], spoken, size)
            script.append(SSAEvent(start=_centiseconds(start), end=_centiseconds(end), text=text, style=_STYLE))
    script.save(str(destination), format_="ass")


def srt_text(words: Sequence[Word]) -> str:
    """The subtitles as an SRT file."""
    return _cue_file(words).to_string("srt")


def vtt_text(words: Sequence[Word]) -> str:
    """The subtitles as a WebVTT file."""
    return _cue_file(words).to_string("vtt")


def _cue_file(words: Sequence[Word]) -> SSAFile:
    """Angle brackets and ampersands would be markup in both formats."""
    script = SSAFile()
    for cue in group_words(words):
        text = escape(cue.text, quote=False)
        script.append(SSAEvent(start=round(cue.start * 1000), end=round(cue.end * 1000), text=text))
    return script


def _style(layout: Layout) -> SSAStyle:
    return SSAStyle(
        fontname=FAMILY,
        fontsize=layout.font_size,
        bold=True,
        primarycolor=Color(255, 255, 255),
        outlinecolor=Color(0, 0, 0),
        backcolor=Color(0, 0, 0, 128),
        outline=layout.outline,
        shadow=layout.outline / 3,
        alignment=Alignment.BOTTOM_CENTER,
        marginl=layout.left,
        marginr=layout.right,
        marginv=layout.bottom,
    )


def _highlighted(texts: Sequence[str], spoken: int, size: int) -> str:
    shown = [f"{_HIGHLIGHT}{text}{_PLAIN}" if index == spoken else text for index, text in enumerate(texts)]
    return rf"{{\fs{size}}}" + " ".join(shown)


def _fitting_size(cue: Cue, layout: Layout, frame: FrameSize, font: ImageFont.FreeTypeFont) -> int:
    """The layout's font size, less when a single word would not fit on a line."""
    widest = max(font.getlength(word.text) for word in cue.words)
    room = frame.width - layout.left - layout.right - 2 * layout.outline
    return layout.font_size if widest <= room else max(1, int(layout.font_size * room / widest))


def _centiseconds(seconds: float) -> int:
    """Milliseconds rounded as ASS can write them, so that neighbouring events neither overlap nor leave a gap."""
    return round(seconds * 100) * 10
