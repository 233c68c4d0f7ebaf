"""The voiceover's words and the scenes they are shown over. Times are seconds from the start of the film."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Word(BaseModel):
    """A word of the script and when it is spoken."""

    model_config = ConfigDict(frozen=True)

    text: str
    start: float
    end: float


class Voiceover(BaseModel):
    """The spoken script: a 48 kHz mono 16-bit WAV in the media store, and the timing of each of its words."""

    model_config = ConfigDict(frozen=True)

    audio_key: str
    duration: float
    words: tuple[Word, ...]
    engine: str


class Scene(BaseModel):
    """A stretch of the film with one picture. `index` counts from 1; `end` is the next scene's `start`.

    `black` says that the picture may be all black.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    text: str
    image_prompt: str
    start: float
    end: float
    seed: int
    black: bool = False


class ScenePicture(BaseModel):
    """The picture of a scene: a checked PNG in the media store."""

    model_config = ConfigDict(frozen=True)

    index: int
    image_key: str
    width: int
    height: int
    cached: bool
    seconds: float
