"""What a caller may ask for, and the job that it becomes.

`JobRequest` is the body of `POST /orchestrate/start`. `Job` is the flow's one parameter: Prefect shows it to
operators and keeps it, so it never holds a token, a key or a secret.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from tabario.formats import FrameSize, Resolution, VideoFormat, frame_size
from tabario.languages import LANGUAGES
from tabario.script import tokens
from tabario.styles import DEFAULT_STYLE, STYLES
from tabario.styles.subtitles import DEFAULT_SUBTITLE_STYLE, SUBTITLE_STYLES
from tabario.tiers import Tier

MAX_SCRIPT_CHARACTERS: Final = 10_000
MAX_PROMPTS: Final = 60
MIN_IMAGE_SIDE: Final = 256
MAX_IMAGE_SIDE: Final = 2048
IMAGE_SIDE_STEP: Final = 8

RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
UserId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


def _without_control_characters(text: str) -> str:
    """PostgreSQL stores no NUL, and no reader of a prompt expects the others."""
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t" for c in text):
        raise ValueError("must not contain control characters")
    return text


ShortText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_without_control_characters),
]
PromptText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000),
    AfterValidator(_without_control_characters),
]
ImageSide = Annotated[int, Field(strict=True, ge=MIN_IMAGE_SIDE, le=MAX_IMAGE_SIDE, multiple_of=IMAGE_SIDE_STEP)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


STORED: Final = "stored"
"""Validation context of jobs that were accepted before, perhaps by a version that has other languages and styles."""


class ScenePrompt(BaseModel):
    """A scene's picture in the caller's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_prompt: PromptText
    video_prompt: PromptText | None = None
    seed: Seed | None = Field(default=None, description="Of this scene; else it follows from the job's, or the prompt.")
    black: bool = Field(default=False, description="The picture may be all black; else a black one is painted again.")


class JobSpec(BaseModel):
    """What the film shall be."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    script: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_SCRIPT_CHARACTERS)] = (
        Field(description="The words that the voice speaks.")
    )
    caption: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_200)] = Field(
        description="The text of the post that the film will go with."
    )
    prompts: tuple[ScenePrompt, ...] = Field(
        default=(), max_length=MAX_PROMPTS, description="One scene each; planned from the script when empty."
    )
    language: str = Field(default="en", description="ISO 639-1 code of the script's language.")
    image_style: str = Field(
        default=DEFAULT_STYLE,
        validation_alias=AliasChoices("image_style", "style"),
        description="Name of a picture style.",
    )
    seed: Seed | None = Field(
        default=None, description="Another one gives other pictures; without one the same job gives the same pictures."
    )
    image_width: ImageSide | None = Field(default=None, description="Pixels; both or neither side.")
    image_height: ImageSide | None = Field(
        default=None, validate_default=True, description="Pixels; both or neither side."
    )
    video_format: VideoFormat = VideoFormat.PORTRAIT
    target_resolution: Resolution = Resolution.P720
    subtitle_style: str = Field(default=DEFAULT_SUBTITLE_STYLE, description="Name of a subtitle style.")
    music: ShortText | None = Field(default=None, description="Name of a piece of music of this installation.")
    voice_id: ShortText | None = Field(default=None, description="A voice of the configured voice engine.")
    platform: ShortText | None = Field(default=None, description="Where the film will be posted; kept as a note.")
    video_idea_id: ShortText | None = Field(default=None, description="The client's own reference; kept as a note.")

    @field_validator("script")
    @classmethod
    def _can_be_spoken(cls, script: str) -> str:
        if not any(unicodedata.category(character)[0] in "LN" for character in script):
            raise ValueError("must contain at least one letter or digit to be spoken")
        return script

    @field_validator("script", "caption")
    @classmethod
    def _has_no_control_characters(cls, text: str) -> str:
        return _without_control_characters(text)

    @field_validator("language")
    @classmethod
    def _is_known_language(cls, language: str, info: ValidationInfo) -> str:
        if language not in LANGUAGES and info.context != STORED:
            raise ValueError(f"is not supported; use one of: {', '.join(LANGUAGES)}")
        return language

    @field_validator("image_style")
    @classmethod
    def _is_known_style(cls, style: str, info: ValidationInfo) -> str:
        if style not in STYLES and info.context != STORED:
            raise ValueError(f"is not known; use one of: {', '.join(STYLES)}")
        return style

    @field_validator("subtitle_style")
    @classmethod
    def _is_known_subtitle_style(cls, style: str, info: ValidationInfo) -> str:
        if style not in SUBTITLE_STYLES and info.context != STORED:
            raise ValueError(f"is not known; use one of: {', '.join(SUBTITLE_STYLES)}")
        return style

    @field_validator("prompts")
    @classmethod
    def _has_a_word_for_each_prompt(
        cls, prompts: tuple[ScenePrompt, ...], info: ValidationInfo
    ) -> tuple[ScenePrompt, ...]:
        words = len(tokens(info.data.get("script", "")))
        if words and len(prompts) > words:
            raise ValueError(f"must not be more than the script has words; send at most {words}")
        return prompts

    @field_validator("image_height")
    @classmethod
    def _goes_with_image_width(cls, height: int | None, info: ValidationInfo) -> int | None:
        if "image_width" in info.data and (info.data["image_width"] is None) != (height is None):
            raise ValueError("goes with image_width; send both or neither")
        return height

    @property
    def frame_size(self) -> FrameSize:
        """Size of the film in pixels."""
        return frame_size(self.video_format, self.target_resolution)

    @property
    def image_size(self) -> FrameSize:
        """Size of the pictures in pixels: as asked, else the film's, each side a multiple of 8."""
        if self.image_width is not None and self.image_height is not None:
            return FrameSize(self.image_width, self.image_height)
        return FrameSize(*(-(-side // IMAGE_SIDE_STEP) * IMAGE_SIDE_STEP for side in self.frame_size))


class JobRequest(JobSpec):
    """Body of `POST /orchestrate/start`."""

    user_id: UserId | None = Field(
        default=None, description="Accepted from existing clients when it equals the token's subject."
    )
    run_id: RunId | None = Field(
        default=None, description="The client's own reference, unique per user; generated when absent."
    )

    def spec(self) -> JobSpec:
        """The request without the parts that say whose job it is."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in JobSpec.model_fields}
        return JobSpec.model_construct(**fields)


class SceneWish(BaseModel):
    """Body of `POST /orchestrate/runs/{run}/scenes/{scene}/regenerate`: what the new picture shall be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_prompt: PromptText | None = Field(default=None, description="The same as before when absent.")
    seed: Seed | None = Field(default=None, description="A new one when absent.")
    run_id: RunId | None = Field(
        default=None, description="The client's own reference for the new job; generated when absent."
    )


class SceneChange(BaseModel):
    """How a scene differs from what the job's spec makes of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Seed
    image_prompt: PromptText | None = None


class Job(BaseModel):
    """An accepted job: the parameter of the flow.

    `changes` are by the scene's number: a job that makes scenes of another one anew has the other's spec, and finds
    all its other parts in the media store. `remakes` is that other job; it is left out where there is none, so that
    a worker of an earlier release takes the job.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: UUID
    user_id: UserId
    run_id: RunId
    tier: Tier
    accepted_at: AwareDatetime
    spec: JobSpec
    changes: dict[int, SceneChange] = Field(default_factory=dict)
    remakes: UUID | None = Field(default=None, exclude_if=lambda job_id: job_id is None)
