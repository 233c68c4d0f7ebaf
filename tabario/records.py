"""The record of a job in Redis: what an app and an operator are told while it runs and afterwards.

Prefect says whether a run lives; the record says how far it is, what it made and why it failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from redis.asyncio import Redis

from tabario import names

RECORD_TTL_SECONDS: Final = 7 * 24 * 3600
CHANGES_TTL_SECONDS: Final = 24 * 3600
MAX_CHANGES: Final = 100
RECORD_FIELD: Final = "record"


class Stage(StrEnum):
    """Where a job is. The order of the members is the order of the work."""

    QUEUED = "queued"
    VOICEOVER = "voiceover"
    SCENE_PLAN = "scene_plan"
    IMAGES = "images"
    MERGE = "merge"
    PUBLISH = "publish"
    DONE = "done"


class JobFailure(BaseModel):
    """Why a job ended without a film. `message` is fit for the job's owner."""

    model_config = ConfigDict(frozen=True)

    stage: Stage
    code: str
    reason: str
    message: str


class Companion(StrEnum):
    """A file that goes with a film, by its name."""

    POSTER = "poster.jpg"
    SRT = "subtitles.srt"
    VTT = "subtitles.vtt"


class Film(BaseModel):
    """The finished film: an MP4 in the media store, and the keys of the files that go with it."""

    model_config = ConfigDict(frozen=True)

    film_key: str
    byte_count: int
    duration: float = Field(description="seconds")
    width: int
    height: int
    scenes: int
    companions: dict[Companion, str] = Field(default_factory=dict)


class Receipt(BaseModel):
    """What a job has used, over all tries; of what earlier jobs had made, only how many pictures were adopted."""

    model_config = ConfigDict(frozen=True)

    stage_seconds: dict[Stage, float] = Field(default_factory=dict, description="seconds of work by stage")
    characters_spoken: int = Field(default=0, description="characters that a voice engine was given")
    gpu_seconds: float = Field(default=0.0, description="seconds that ComfyUI worked on the pictures")
    pictures_painted: int = 0
    pictures_adopted: int = Field(default=0, description="pictures that were there already")
    bytes_stored: int = Field(default=0, description="bytes of the film")

    def plus(self, **used: float) -> Receipt:
        """With so much more used."""
        return self.model_copy(update={name: getattr(self, name) + amount for name, amount in used.items()})

    def plus_seconds(self, stage: Stage, seconds: float) -> Receipt:
        """With so much more time spent in a stage."""
        spent = {**self.stage_seconds, stage: round(self.stage_seconds.get(stage, 0.0) + seconds, 3)}
        return self.model_copy(update={"stage_seconds": spent})


class JobRecord(BaseModel):
    """What is known of a job. Times are seconds, `progress` runs from 0 to 1."""

    model_config = ConfigDict(frozen=True)

    job_id: UUID
    stage: Stage = Stage.QUEUED
    progress: float = 0.0
    message: str = "Waiting for a worker."
    seconds_left: float | None = None
    scenes_total: int | None = None
    scenes_done: int = 0
    stage_seconds: dict[Stage, float] = Field(default_factory=dict)
    failure: JobFailure | None = None
    film: Film | None = None
    receipt: Receipt = Field(default_factory=Receipt)
    voiceover_key: str | None = None
    image_keys: tuple[str, ...] = ()
    updated_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def final(self) -> bool:
        """Whether the work is over, with a film or without."""
        return self.stage is Stage.DONE or self.failure is not None


class JobRecords:
    """Reads and writes job records. A record lives for `RECORD_TTL_SECONDS` after its last change.

    Every version also goes to a stream, for those who follow the job: see `tabario.changes`.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, job_id: UUID) -> JobRecord | None:
        """The record, or None when there is none (any more)."""
        text = await self._redis.get(names.record_key(str(job_id)))
        return None if text is None else JobRecord.model_validate_json(text)

    async def read_many(self, job_ids: Sequence[UUID]) -> list[JobRecord | None]:
        """The records of several jobs, in their order, by one call to Redis."""
        keys = [names.record_key(str(job_id)) for job_id in job_ids]
        texts = await self._redis.mget(keys) if keys else []
        return [None if text is None else JobRecord.model_validate_json(text) for text in texts]

    async def delete(self, job_id: UUID) -> None:
        """Forgets a job that was never started."""
        await self._redis.delete(names.record_key(str(job_id)), names.changes_key(str(job_id)))

    async def write(self, record: JobRecord) -> None:
        """Replaces the job's record."""
        text = record.model_copy(update={"updated_at": datetime.now(UTC)}).model_dump_json()
        changes = names.changes_key(str(record.job_id))
        async with self._redis.pipeline() as pipeline:
            pipeline.set(names.record_key(str(record.job_id)), text, ex=RECORD_TTL_SECONDS)
            pipeline.xadd(changes, {RECORD_FIELD: text}, maxlen=MAX_CHANGES, approximate=False)
            pipeline.expire(changes, CHANGES_TTL_SECONDS)
            await pipeline.execute()
