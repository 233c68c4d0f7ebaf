"""The colours of a card: the scene's words choose the hour, the style's words choose the look."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Colour = tuple[int, int, int]


class Hour(StrEnum):
    """The light of a scene."""

    DAWN = "dawn"
    DAY = "day"
    DUSK = "dusk"
    NIGHT = "night"
    STORM = "storm"


@dataclass(frozen=True)
class Palette:
    """Colours from top to bottom of the picture."""

    zenith: Colour
    horizon: Colour
    light: Colour
    far: Colour
    near: Colour
    accent: Colour


@dataclass(frozen=True)
class Look:
    """What a style does to the colours: `saturation` 1 changes nothing, `tint` is mixed in by `strength`."""

    name: str
    saturation: float = 1.0
    tint: Colour = (128, 128, 128)
    strength: float = 0.0
    is_hatched: bool = False


# The first look whose words stand in the prompt wins.
_LOOKS: Final[tuple[tuple[str, Look], ...]] = (
    (r"crayon", Look("crayon drawing", saturation=1.35, tint=(255, 244, 214), strength=0.18, is_hatched=True)),
    (r"anime", Look("anime", saturation=1.25, tint=(120, 190, 255), strength=0.14)),
    (r"family film|disney", Look("family film", saturation=1.4, tint=(255, 170, 120), strength=0.1)),
    (r"cinematic", Look("cinematic", saturation=0.75, tint=(18, 52, 64), strength=0.24)),
    (r"photograph|photo\b", Look("photo", saturation=0.6, tint=(150, 140, 125), strength=0.16)),
    (r"illustration", Look("illustration", saturation=0.95, tint=(240, 214, 180), strength=0.08)),
)
_PLAIN: Final = Look("storyboard")

_HOURS: Final[tuple[tuple[str, Hour], ...]] = (
    (r"night|midnight|moon\w*|stars?|dark\w*|space|planets?|galaxy", Hour.NIGHT),
    (r"storm\w*|rain\w*|thunder|grey|fog|mist\w*|winter", Hour.STORM),
    (r"dawn|sunrise|morning|awake\w*|wakes?", Hour.DAWN),
    (r"dusk|sunset|evening|autumn|fire|candle\w*", Hour.DUSK),
    (r"noon|midday|summer|sunny|day", Hour.DAY),
)

_PALETTES: Final[dict[Hour, Palette]] = {
    Hour.DAWN: Palette(
        (92, 110, 178), (255, 196, 158), (255, 232, 190), (150, 118, 160), (62, 58, 104), (255, 150, 120)
    ),
    Hour.DAY: Palette((58, 136, 214), (196, 228, 244), (255, 246, 206), (108, 166, 160), (38, 106, 92), (255, 190, 84)),
    Hour.DUSK: Palette((64, 48, 112), (250, 142, 92), (255, 214, 140), (142, 76, 104), (54, 34, 66), (255, 176, 70)),
    Hour.NIGHT: Palette((10, 16, 46), (58, 74, 132), (236, 238, 214), (34, 46, 92), (12, 18, 44), (250, 210, 120)),
    Hour.STORM: Palette((58, 70, 84), (158, 172, 178), (226, 230, 226), (94, 110, 118), (40, 52, 60), (226, 196, 120)),
}


def look_of(prompt: str) -> Look:
    """The look that the prompt's style words ask for."""
    return next((look for words, look in _LOOKS if re.search(words, prompt, re.IGNORECASE)), _PLAIN)


def hour_of(scene: str) -> Hour | None:
    """The hour that the scene's words name, if they name one."""
    return next((hour for words, hour in _HOURS if re.search(rf"\b({words})\b", scene, re.IGNORECASE)), None)


def scene_of(prompt: str) -> str:
    """The prompt without its style: everything before the first later clause with style words in it."""
    clauses = re.split(r",\s*", prompt)
    words = "|".join(pattern for pattern, _ in _LOOKS)
    kept = [clauses[0]]
    for clause in clauses[1:]:
        if re.search(words, clause, re.IGNORECASE):
            break
        kept.append(clause)
    return ", ".join(kept).strip()


def palette_of(hour: Hour, look: Look) -> Palette:
    """The hour's colours with the look laid over them."""
    base = _PALETTES[hour]
    return Palette(*(_graded(colour, look) for colour in vars(base).values()))


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between the two; `share` 0 is the one, 1 the other."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _graded(colour: Colour, look: Look) -> Colour:
    grey = sum(colour) // 3
    red, green, blue = (min(255, max(0, round(grey + (part - grey) * look.saturation))) for part in colour)
    return mix((red, green, blue), look.tint, look.strength)
