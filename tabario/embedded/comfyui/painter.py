"""Paints storyboard cards: pictures that a person can tell apart, the same for the same inputs."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from PIL import Image, ImageDraw

from tabario.embedded.comfyui.lettering import write_label, write_text
from tabario.embedded.comfyui.palette import Hour, hour_of, look_of, mix, palette_of, scene_of
from tabario.embedded.comfyui.scenery import paint_scenery

# The scenery is painted larger by this factor and then reduced, which smooths its edges.
_OVERSAMPLING: Final = 2

_WHITE: Final = (255, 255, 255)
_PAPER: Final = (255, 250, 236)


@dataclass(frozen=True)
class Card:
    """What to paint: the positive prompt, the seed, and the size in pixels."""

    prompt: str
    seed: int
    width: int
    height: int


def paint(card: Card) -> Image.Image:
    """Paints the scene that the prompt tells of, with its text where no subtitle will cover it."""
    # Not for secrets: the luck must be the same for the same card.
    luck = Random(f"{card.seed} {card.prompt}")  # noqa: S311
    scene, look = scene_of(card.prompt), look_of(card.prompt)
    hour = hour_of(scene) or luck.choice((Hour.DAWN, Hour.DAY, Hour.DAY, Hour.DUSK))
    large = (card.width * _OVERSAMPLING, card.height * _OVERSAMPLING)
    image = paint_scenery(large, scene, hour, palette_of(hour, look), luck).reduce(_OVERSAMPLING)
    if look.is_hatched:
        _hatch(image, luck)
    # A film shows 7/9 of the picture, anywhere: what stands nearer to an edge than 2/9 leaves the frame in some motion.
    left, top, bottom = card.width * 23 // 100, card.height * 23 // 100, card.height * 46 // 100
    write_text(image, scene, (left, top, card.width - left, bottom), _WHITE)
    write_label(image, f"{look.name}  ·  seed {card.seed}", mix(_WHITE, (128, 128, 128), 0.15))
    return image


def _hatch(image: Image.Image, luck: Random) -> None:
    """Lets the paper show through in strokes, as wax crayon does."""
    mask = Image.new("L", image.size)
    draw = ImageDraw.Draw(mask)
    slant = image.height * 0.35
    gap = min(image.size) / 60
    x = -slant
    while x < image.width + slant:
        start, end = luck.uniform(-0.05, 0.6) * image.height, luck.uniform(0.5, 1.05) * image.height
        lean = slant / image.height
        points = ((x + start * lean, image.height - start), (x + end * lean, image.height - end))
        draw.line(points, fill=luck.randint(40, 120), width=max(1, round(gap * luck.uniform(0.15, 0.5))))
        x += gap * luck.uniform(0.5, 1.2)
    image.paste(_PAPER, (0, 0), mask)
