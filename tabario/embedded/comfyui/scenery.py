"""The picture behind the text: a sky, a light, and land that suits the scene's words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from PIL import Image, ImageDraw

from tabario.embedded.comfyui.palette import Colour, Hour, Palette, mix

# Share of the picture's height where sky meets land: below the text, behind the subtitles.
HORIZON: Final = 0.62

_POINTS: Final = 72

# Shares of the houses with a gable, and of the windows that are lit.
_GABLED: Final = 0.4
_LIT: Final = 0.45


@dataclass(frozen=True)
class Canvas:
    """A picture being painted, its colours and its luck."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    palette: Palette
    luck: Random
    is_night: bool

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.image.height

    @property
    def unit(self) -> float:
        """A hundredth of the shorter side."""
        return min(self.image.size) / 100


def paint_scenery(size: tuple[int, int], scene: str, hour: Hour, palette: Palette, luck: Random) -> Image.Image:
    """Paints the scene without any text."""
    image = _gradient(size, palette.zenith, palette.horizon)
    canvas = Canvas(image, ImageDraw.Draw(image), palette, luck, hour is Hour.NIGHT)
    if canvas.is_night:
        _stars(canvas)
    _light(canvas)
    if hour is not Hour.NIGHT:
        _clouds(canvas)
    _land_of(scene, luck)(canvas)
    return image


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    column = Image.new("RGB", (1, 64))
    for y in range(64):
        column.putpixel((0, y), mix(top, bottom, min(1.0, y / 63 / HORIZON)))
    return column.resize(size, Image.Resampling.BILINEAR)


def _stars(canvas: Canvas) -> None:
    for _ in range(90):
        x, y = canvas.luck.random() * canvas.width, canvas.luck.random() * canvas.height * HORIZON
        radius = canvas.unit * canvas.luck.uniform(0.12, 0.4)
        shade = mix(canvas.palette.zenith, (255, 255, 255), canvas.luck.uniform(0.3, 0.95))
        canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade)


def _light(canvas: Canvas) -> None:
    """The sun or the moon with its glow."""
    x = canvas.width * canvas.luck.choice((0.18, 0.3, 0.7, 0.82))
    y = canvas.height * HORIZON * (0.16 if canvas.is_night else canvas.luck.uniform(0.78, 0.94))
    radius = canvas.unit * canvas.luck.uniform(9, 13)
    reach = round(radius * 4)
    glow = Image.radial_gradient("L").resize((2 * reach, 2 * reach)).point(lambda depth: max(0, 150 - depth))
    canvas.image.paste(canvas.palette.light, (round(x) - reach, round(y) - reach), glow)
    canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=canvas.palette.light)


def _clouds(canvas: Canvas) -> None:
    for _ in range(canvas.luck.randint(3, 5)):
        x, y = canvas.luck.random() * canvas.width, canvas.luck.uniform(0.04, 0.5) * canvas.height
        share = y / canvas.height / HORIZON
        shade = mix(mix(canvas.palette.zenith, canvas.palette.horizon, share), (255, 255, 255), 0.35)
        length = canvas.unit * canvas.luck.uniform(14, 30)
        for part in range(5):
            middle = x + (part - 2) * length / 4
            tall = length * (0.2 - abs(part - 2) * 0.05)
            canvas.draw.ellipse((middle - length / 4, y - tall, middle + length / 4, y + tall * 0.5), fill=shade)
        canvas.draw.rounded_rectangle(
            (x - length * 0.7, y, x + length * 0.7, y + length * 0.1), length * 0.05, fill=shade
        )


def _ridge(
    canvas: Canvas, level: float, swing: float, colour: Colour, *, jagged: bool = False
) -> Callable[[float], float]:
    """A hill line across the picture, filled to the bottom. Returns its height in pixels at x."""
    waves = [
        (canvas.luck.uniform(0.6, 1.6) * turn, canvas.luck.random() * math.tau, 1 / turn) for turn in (1, 2.3, 4.1)
    ]

    def height_at(x: float) -> float:
        at = x / canvas.width * math.tau
        total = sum(math.sin(at * pace + shift) * share for pace, shift, share in waves)
        if jagged:
            total = 1.4 - 2 * abs(total)
        return canvas.height * (level - swing * total)

    xs = [canvas.width * step / _POINTS for step in range(_POINTS + 1)]
    outline = [(x, height_at(x)) for x in xs]
    canvas.draw.polygon([(0, canvas.height), *outline, (canvas.width, canvas.height)], fill=colour)
    return height_at


def _hills(canvas: Canvas) -> None:
    for depth in range(4):
        shade = mix(canvas.palette.far, canvas.palette.near, depth / 3)
        height_at = _ridge(canvas, HORIZON + 0.02 + depth * 0.085, 0.022, shade)
        if depth == 1:
            for _ in range(7):
                x = canvas.luck.random() * canvas.width
                _round_tree(canvas, x, height_at(x), canvas.unit * canvas.luck.uniform(2.5, 4.5), canvas.palette.near)


def _mountains(canvas: Canvas) -> None:
    for depth in range(3):
        shade = mix(canvas.palette.far, canvas.palette.near, depth / 2.4)
        _ridge(canvas, HORIZON - 0.02 + depth * 0.07, 0.06 - depth * 0.012, shade, jagged=True)
    _ridge(canvas, 0.86, 0.015, canvas.palette.near)


def _forest(canvas: Canvas) -> None:
    for depth in range(3):
        shade = mix(canvas.palette.far, canvas.palette.near, 0.2 + depth * 0.4)
        height_at = _ridge(canvas, HORIZON + 0.05 + depth * 0.1, 0.015, shade)
        for _ in range(26 - depth * 7):
            x = canvas.luck.random() * canvas.width
            _fir(
                canvas,
                x,
                height_at(x) + canvas.unit,
                canvas.unit * canvas.luck.uniform(9, 15) * (1 + depth * 0.35),
                shade,
            )


def _sea(canvas: Canvas) -> None:
    _ridge(canvas, HORIZON, 0.018, canvas.palette.far)
    top = canvas.height * (HORIZON + 0.02)
    water = mix(canvas.palette.zenith, canvas.palette.near, 0.45)
    canvas.draw.rectangle((0, top, canvas.width, canvas.height), fill=water)
    for _ in range(70):
        depth = canvas.luck.random()
        x, y = canvas.luck.random() * canvas.width, top + depth * (canvas.height - top)
        length, thick = canvas.unit * (3 + 14 * depth), canvas.unit * (0.2 + 0.7 * depth)
        shade = mix(water, canvas.palette.horizon, canvas.luck.uniform(0.1, 0.5))
        canvas.draw.rounded_rectangle((x - length, y, x + length, y + thick), thick / 2, fill=shade)
    _boat(canvas, canvas.width * canvas.luck.uniform(0.2, 0.8), top + canvas.height * 0.17)
    _lighthouse(canvas, canvas.width * canvas.luck.choice((0.14, 0.86)), top)


def _city(canvas: Canvas) -> None:
    for depth in range(3):
        shade = mix(canvas.palette.far, canvas.palette.near, 0.15 + depth * 0.42)
        x = -canvas.unit * canvas.luck.uniform(0, 8)
        while x < canvas.width:
            wide = canvas.unit * canvas.luck.uniform(9, 17)
            top = canvas.height * (HORIZON + depth * 0.11 - canvas.luck.uniform(0, 0.11))
            _house(canvas, (x, top, x + wide, canvas.height), shade, depth)
            x += wide + canvas.unit * canvas.luck.uniform(0, 2)


def _dunes(canvas: Canvas) -> None:
    for depth in range(4):
        shade = mix(mix(canvas.palette.horizon, canvas.palette.accent, 0.4), canvas.palette.near, depth * 0.22)
        _ridge(canvas, HORIZON + 0.03 + depth * 0.09, 0.03, shade)


def _round_tree(canvas: Canvas, x: float, foot: float, size: float, shade: Colour) -> None:
    canvas.draw.rectangle((x - size * 0.1, foot - size, x + size * 0.1, foot + size * 0.2), fill=shade)
    canvas.draw.ellipse((x - size * 0.7, foot - size * 2.2, x + size * 0.7, foot - size * 0.6), fill=shade)


def _fir(canvas: Canvas, x: float, foot: float, size: float, shade: Colour) -> None:
    for part in range(3):
        top, wide = foot - size * (1 - part * 0.25), size * (0.16 + part * 0.08)
        canvas.draw.polygon([(x, top), (x - wide, top + size * 0.45), (x + wide, top + size * 0.45)], fill=shade)


def _boat(canvas: Canvas, x: float, y: float) -> None:
    size = canvas.unit * 9
    canvas.draw.polygon(
        [(x - size, y), (x + size, y), (x + size * 0.6, y + size * 0.45), (x - size * 0.7, y + size * 0.45)],
        fill=canvas.palette.near,
    )
    canvas.draw.polygon(
        [(x, y - size * 0.1), (x, y - size * 1.7), (x + size * 0.85, y - size * 0.1)], fill=canvas.palette.light
    )
    canvas.draw.polygon(
        [(x - size * 0.1, y - size * 0.1), (x - size * 0.1, y - size * 1.3), (x - size * 0.6, y - size * 0.1)],
        fill=canvas.palette.accent,
    )


def _lighthouse(canvas: Canvas, x: float, foot: float) -> None:
    size = canvas.unit * 4
    rock = [
        (x - size * 2.6, foot + size),
        (x - size, foot - size),
        (x + size * 1.2, foot - size * 0.8),
        (x + size * 2.8, foot + size),
    ]
    canvas.draw.polygon(rock, fill=canvas.palette.near)
    for part in range(4):
        shade = canvas.palette.light if part % 2 == 0 else canvas.palette.accent
        low, wide = foot - size * (0.6 + part * 1.2), size * (0.85 - part * 0.1)
        canvas.draw.polygon(
            [
                (x - wide, low),
                (x + wide, low),
                (x + wide - size * 0.1, low - size * 1.2),
                (x - wide + size * 0.1, low - size * 1.2),
            ],
            fill=shade,
        )
    canvas.draw.rectangle(
        (x - size * 0.4, foot - size * 6.2, x + size * 0.4, foot - size * 5.4), fill=canvas.palette.light
    )
    canvas.draw.pieslice(
        (x - size * 0.6, foot - size * 6.8, x + size * 0.6, foot - size * 5.6), 180, 360, fill=canvas.palette.near
    )


def _house(canvas: Canvas, box: tuple[float, float, float, float], shade: Colour, depth: int) -> None:
    left, top, right, _ = box
    canvas.draw.rectangle(box, fill=shade)
    if canvas.luck.random() < _GABLED:
        canvas.draw.polygon([(left, top), ((left + right) / 2, top - canvas.unit * 5), (right, top)], fill=shade)
    pane = canvas.unit * (0.9 + depth * 0.35)
    lit = mix(shade, canvas.palette.accent, 0.85)
    y = top + pane * 2
    while y < canvas.height:
        x = left + pane
        while x + pane < right - pane / 2:
            if canvas.luck.random() < _LIT:
                canvas.draw.rectangle((x, y, x + pane, y + pane * 1.4), fill=lit)
            x += pane * 2.2
        y += pane * 3.2


_LANDS: Final[tuple[tuple[str, Callable[[Canvas], None]], ...]] = (
    (
        r"sea|ocean|waters?|waves?|lakes?|rivers?|harbou?r|beach\w*|boats?|ships?|lighthouse|islands?|fish\w*|coast|sail\w*",
        _sea,
    ),
    (
        r"cit(y|ies)|streets?|towns?|buildings?|office|apartments?|neon|villages?|houses?|shops?|market|caf[eé]|trains?",
        _city,
    ),
    (r"forests?|trees?|woods?|garden\w*|park|lea(f|ves)|jungle|fox\w*|wolf|bear|owl", _forest),
    (r"mountains?|peaks?|snow\w*|valleys?|climb\w*|summit|rocks?|cliffs?|winter", _mountains),
    (r"desert|dunes?|sand\w*|camels?|heat", _dunes),
)


def _land_of(scene: str, luck: Random) -> Callable[[Canvas], None]:
    for words, land in _LANDS:
        if re.search(rf"\b({words})\b", scene, re.IGNORECASE):
            return land
    return luck.choice((_hills, _mountains, _forest, _dunes, _hills))
