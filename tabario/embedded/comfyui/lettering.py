"""Text on a card: wrapped, as big as its box allows, readable on any background."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from tabario.embedded.comfyui.palette import Colour
from tabario.film.fonts import font_file

# Longer texts are cut, with an ellipsis.
MAX_CHARACTERS: Final = 240

_LEADING: Final = 1.28


def write_text(image: Image.Image, text: str, box: tuple[int, int, int, int], colour: Colour) -> None:
    """Writes the text into the middle of the box (left, top, right, bottom), as big as it fits, on a dark panel."""
    left, top, right, bottom = box
    lines, size = _fit(_shorten(text), right - left, bottom - top)
    if not lines:
        return
    height = round(len(lines) * size * _LEADING)
    first = top + (bottom - top - height) // 2
    font = _font(size)
    wide = max(round(font.getlength(line)) for line in lines)
    centre = (left + right) // 2
    _panel(
        image, (centre - wide // 2 - size, first - size * 3 // 4, centre + wide // 2 + size, first + height + size // 2)
    )
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        y = first + number * size * _LEADING
        draw.text((centre + 1, y + size * 0.05 + 1), line, font=font, fill=(0, 0, 0), anchor="ma")
        draw.text((centre, y), line, font=font, fill=colour, anchor="ma")


def write_label(image: Image.Image, text: str, colour: Colour) -> None:
    """Writes a small line near the bottom, where a film that zooms in still shows it."""
    size = max(9, min(image.size) // 40)
    font = _font(size)
    place = (image.width / 2, image.height * 0.86)
    ImageDraw.Draw(image).text(place, text, font=font, fill=colour, anchor="mm", stroke_width=1, stroke_fill=(0, 0, 0))


def _panel(image: Image.Image, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    mask = Image.new("L", ((right - left) * 2, (bottom - top) * 2))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *mask.size), mask.height // 12, fill=120)
    image.paste((10, 14, 26), (left, top), mask.reduce(2))


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[:MAX_CHARACTERS].rsplit(" ", 1)[0].rstrip(",.;:") + "…"


def _fit(text: str, width: int, height: int) -> tuple[list[str], int]:
    """The lines and the font size in pixels; no lines when the box is too small to read anything."""
    for size in range(min(width // 11, height // 7), 9, -1):
        lines = _wrap(text, width / size)
        if lines and len(lines) * size * _LEADING <= height:
            return lines, size
    return [], 0


def _wrap(text: str, width: float) -> list[str]:
    """Lines no wider than `width`, in units of the font's size; nothing when a word alone is wider."""
    lines: list[str] = []
    room = 0.0
    for word in text.split():
        wide = _word_width(word)
        if wide > width:
            return []
        if lines and wide + _word_width(" ") <= room:
            lines[-1] += f" {word}"
            room -= wide + _word_width(" ")
        else:
            lines.append(word)
            room = width - wide
    return lines


@lru_cache(maxsize=4096)
def _word_width(word: str) -> float:
    return _font(100).getlength(word) / 100


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(), size)
