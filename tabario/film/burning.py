"""The subtitles that are burned in: an ASS file with an event for each word, in which that word is coloured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from PIL import ImageFont
from pysubs2 import Alignment, Color, SSAEvent, SSAFile, SSAStyle

from tabario.film.fonts import Face, Fonts
from tabario.film.subtitles import Cue, group_words
from tabario.formats import FrameSize
from tabario.scenes import Word
from tabario.styles.subtitles import Colour, SubtitleStyle

_STYLE: Final = "Words"
_PLAIN: Final = r"{\c}"
_FROM_THE_TEXT: Final = -1  # libass then takes the direction of writing from the text
_BOX_AROUND_ALL: Final = 4  # libass's own border style: one box behind the whole text

_SCRIPT_INFO: Final = {"WrapStyle": "0", "ScaledBorderAndShadow": "yes", "YCbCr Matrix": "TV.709"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where and how large the text stands, in pixels of the frame."""

    font_size: int
    outline: float
    left: int
    right: int
    bottom: int

    @classmethod
    def for_frame(cls, frame: FrameSize, style: SubtitleStyle) -> Layout:
        """Portrait films keep clear of the controls that the platforms lay over the bottom and the right side."""
        width, height = frame
        unit = min(frame) / 1080
        if height > width:
            size, outline = 96, 6
            left, right, bottom = round(width * 110 / 1080), round(width * 190 / 1080), height * 680 // 1920
        else:
            size, outline = 84, 5
            left, right, bottom = width // 10, width // 10, height // 10
        return cls(
            font_size=round(size * unit * style.size),
            outline=outline * unit * style.outline_width,
            left=left,
            right=right,
            bottom=bottom,
        )


@dataclass(frozen=True, slots=True)
class Typesetting:
    """How the words of a film are set."""

    fonts: Fonts
    style: SubtitleStyle
    language: str


def write_ass(words: Sequence[Word], frame: FrameSize, setting: Typesetting, destination: Path) -> None:
    """Writes the ASS file. Raises InvalidInput when there is no font for a word."""
    style = setting.style
    layout = Layout.for_frame(frame, style)
    script = SSAFile()
    script.info |= _SCRIPT_INFO | {"PlayResX": str(frame.width), "PlayResY": str(frame.height)}
    script.styles = {_STYLE: _ass_style(layout, style, setting.fonts.latin)}
    room = frame.width - layout.left - layout.right - 2 * layout.outline
    for cue in group_words(words, style.words):
        texts = [word.text.upper() if style.capitals else word.text for word in cue.words]
        faces = [setting.fonts.face_for(text, setting.language) for text in texts]
        size = _fitting_size(cue, texts, faces, layout.font_size, room)
        edges = [cue.start, *(word.start for word in cue.words[1:]), cue.end]
        for spoken, (start, end) in enumerate(pairwise(edges)):
            shown = [_set(text, face, setting.fonts.latin, size) for text, face in zip(texts, faces, strict=True)]
            shown[spoken] = f"{{\\c{_ass_colour(style.spoken)}}}{shown[spoken]}{_PLAIN}"
            line = "".join(space + text for space, text in zip(cue.spaces, shown, strict=True))
            event = SSAEvent(start=_centiseconds(start), end=_centiseconds(end), text=rf"{{\fs{size}}}{line}")
            event.style = _STYLE
            script.append(event)
    script.save(str(destination), format_="ass")


def _set(text: str, face: Face, latin: Face, size: int) -> str:
    """The word in its font, without the symbols that no font has: they would be shown as boxes."""
    text = "".join(char for char in text if ord(char) in face.characters or ord(char) in latin.characters)
    if face is latin:
        return text
    same_letters = round(size * face.height / latin.height)
    return rf"{{\fn{face.family}\fs{same_letters}}}{text}{{\fn{latin.family}\fs{size}}}"


def _ass_style(layout: Layout, style: SubtitleStyle, face: Face) -> SSAStyle:
    found = SSAStyle(
        fontname=face.family,
        fontsize=layout.font_size,
        bold=True,
        primarycolor=Color(*style.text),
        outlinecolor=Color(*style.outline),
        backcolor=Color(*style.outline, 64 if style.box else 0),
        outline=layout.outline,
        shadow=layout.outline * 2 if style.box else 0,  # with a box, its margin
        alignment=Alignment.BOTTOM_CENTER,
        marginl=layout.left,
        marginr=layout.right,
        marginv=layout.bottom,
        encoding=_FROM_THE_TEXT,
    )
    if style.box:
        found.borderstyle = _BOX_AROUND_ALL
    return found


def _ass_colour(colour: Colour) -> str:
    """ASS writes blue, green, red."""
    return f"&H{colour.blue:02X}{colour.green:02X}{colour.red:02X}&"


def _fitting_size(cue: Cue, texts: Sequence[str], faces: Sequence[Face], size: int, room: float) -> int:
    """The usual font size, less when something that cannot be broken would not fit on a line."""
    widths: list[float] = []
    for space, text, face in zip(cue.spaces, texts, faces, strict=True):
        width = _open_font(face.path, face.index, size).getlength(text)
        if space or not widths:
            widths.append(width)
        else:
            widths[-1] += width
    return size if max(widths) <= room else max(1, int(size * room / max(widths)))


@lru_cache(maxsize=16)
def _open_font(path: Path, index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size, index=index)


def _centiseconds(seconds: float) -> int:
    """Milliseconds rounded as ASS can write them, so that neighbouring events neither overlap nor leave a gap."""
    return round(seconds * 100) * 10
