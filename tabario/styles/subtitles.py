"""Subtitle styles, read from `subtitles.yaml` beside this file."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Final, NamedTuple

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

DEFAULT_SUBTITLE_STYLE: Final = "bold"


class Colour(NamedTuple):
    """Each from 0 to 255."""

    red: int
    green: int
    blue: int


def _read_colour(value: object) -> object:
    """From #RRGGBB."""
    return Colour(*bytes.fromhex(value.removeprefix("#"))) if isinstance(value, str) else value


AnyColour = Annotated[Colour, BeforeValidator(_read_colour)]


class SubtitleStyle(BaseModel):
    """How subtitles look. `size` and `outline_width` are multiples of what the frame's layout has.

    `spoken` is the colour of the word that is being spoken. With a `box`, the outline's colour fills it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: AnyColour
    spoken: AnyColour
    outline: AnyColour
    outline_width: float = Field(default=1.0, gt=0, le=2)
    size: float = Field(default=1.0, gt=0, le=1.5)
    box: bool = False
    capitals: bool = False
    words: int = Field(default=4, ge=1, le=4)


def _read_styles() -> dict[str, SubtitleStyle]:
    text = (files(__package__) / "subtitles.yaml").read_text(encoding="utf-8")
    return {name: SubtitleStyle.model_validate(fields) for name, fields in yaml.safe_load(text).items()}


SUBTITLE_STYLES: Final[dict[str, SubtitleStyle]] = _read_styles()
