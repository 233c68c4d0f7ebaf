"""How far a job is, told to its record in Redis and to the Prefect UI."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.logging.loggers import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed
from redis.exceptions import RedisError

from flows.artifacts import ProgressBar
from flows.estimates import MERGE_PACE, images_left, progress_at, share_left
from flows.failures import failure_of
from flows.measures import count_start
from tabario.errors import RetryLater
from tabario.jobs import Job
from tabario.logs import logging_about
from tabario.metrics.recorder import Recorder
from tabario.queue import JobQueue
from tabario.records import Film, JobRecord, JobRecords, Receipt, Stage
from tabario.scenes import ScenePicture, Voiceover

SMALLEST_STEP: Final = 0.01  # of a stage: the merge reports several times a second


class Progress:
    """The stages tell; records, metrics and the progress bar follow.

    A lost note is no reason to lose a film, so only `finish` insists that the record was written.
    """

    def __init__(self, job: Job, *, records: JobRecords, queue: JobQueue, recorder: Recorder, bar: ProgressBar) -> None:
        self._job = job
        self._records = records
        self._queue = queue
        self._bar = bar
        self._record = JobRecord(job_id=job.job_id, message="Starting.")
        self._stage_began = time.monotonic()
        self._share = 0.0
        self._film_seconds = 0.0
        self._painted = 0
        self._charged = set[UUID]()
        self.recorder = recorder

    async def start(self) -> None:
        """Takes the job off the list of waiting ones."""
        waited = (datetime.now(UTC) - self._job.accepted_at).total_seconds()
        try:
            await self._queue.remove(self._job.job_id)
            before = await self._records.read(self._job.job_id)
            changed = await self._records.read(self._job.remakes) if self._job.remakes else None
        except RedisError as error:
            get_run_logger().warning("The job may still be listed as waiting: %s", error)
        else:
            if before is not None:  # a try that died has used something, too
                kept = {"receipt": before.receipt, "voiceover_key": before.voiceover_key}
                self._record = self._record.model_copy(update=kept)
            if changed is not None and self.voiceover_key is None:
                self._record = self._record.model_copy(update={"voiceover_key": changed.voiceover_key})
        await count_start(self.recorder, self._job, waited, beginnings=flow_run.run_count)
        await self._bar.show(0.0, self._record.message)

    @asynccontextmanager
    async def stage(self, stage: Stage, message: str) -> AsyncIterator[None]:
        """The block is that stage; `message` tells the job's owner what goes on."""
        self._stage_began, self._share = time.monotonic(), 0.0
        await self._show(0.0, {"stage": stage, "seconds_left": None, "message": message})
        try:
            with logging_about(stage=stage.value):
                yield
        finally:
            if self._record.stage is stage:  # else `finish` has noted it
                self._receipt = self._receipt.plus_seconds(stage, self._elapsed)
        self._record = self._record.model_copy(update={"stage_seconds": self._seconds_with(stage)})

    def plan(self, *, scenes: int, film_seconds: float) -> None:
        """The plan is known: how many pictures, and how long the film."""
        self._film_seconds = film_seconds
        self._record = self._record.model_copy(update={"scenes_total": scenes})

    def charge(self, **used: float) -> None:
        """So much more was used; the names are those of a receipt's fields."""
        self._receipt = self._receipt.plus(**used)

    def charge_gpu(self, prompt_id: UUID, seconds: float) -> None:
        """ComfyUI worked so long on a prompt of this job, which is charged once however often it is adopted."""
        if prompt_id not in self._charged:
            self._charged.add(prompt_id)
            self.charge(gpu_seconds=seconds)

    def spoken(self, voiceover: Voiceover) -> None:
        """The voiceover is in the store."""
        self._record = self._record.model_copy(update={"voiceover_key": voiceover.audio_key})

    def painted(self, pictures: Sequence[ScenePicture]) -> None:
        """All pictures are in the store."""
        keys = tuple(picture.image_key for picture in pictures)
        self._record = self._record.model_copy(update={"image_keys": keys})

    async def picture_done(self, *, cached: bool) -> None:
        """One more picture is there."""
        self._painted += not cached
        self.charge(pictures_adopted=1) if cached else self.charge(pictures_painted=1)
        done, total = self._record.scenes_done + 1, self._record.scenes_total or 1
        left = images_left(waiting=total - done, painted=self._painted, elapsed=self._elapsed)
        seconds_left = None if left is None else round(left + self._film_seconds * MERGE_PACE, 1)
        message = f"Painting the pictures, {done} of {total}."
        await self._show(done / total, {"scenes_done": done, "seconds_left": seconds_left, "message": message})

    async def merged(self, share: float) -> None:
        """So much of the film, from 0 to 1, is encoded."""
        if share - self._share >= SMALLEST_STEP:
            self._share = share
            left = share_left(share=share, elapsed=self._elapsed)
            await self._show(share, {"seconds_left": None if left is None else round(left, 1)})

    async def finish(self, film: Film) -> None:
        """The film is published. Raises RetryLater when the record cannot be written: nobody would find the film."""
        used = self._receipt.plus(bytes_stored=film.byte_count).plus_seconds(self._record.stage, self._elapsed)
        done = self._record.model_copy(
            update={
                "stage": Stage.DONE,
                "progress": 1.0,
                "seconds_left": 0.0,
                "message": "Done.",
                "stage_seconds": self._seconds_with(self._record.stage),
                "film": film,
                "receipt": used,
            }
        )
        try:
            await self._records.write(done)
        except RedisError as error:
            raise RetryLater("The job's record cannot be written.") from error
        self._record = done
        await self._bar.show(1.0, self._record.message)

    async def fail(self, error: Exception) -> State[Any]:
        """Puts a failure on record; returns the state that the run ends in, with the same message."""
        failure = failure_of(self._record.stage, error)
        with logging_about(stage=failure.stage.value):
            get_run_logger().error(failure.message, exc_info=error)
        await self._write({"failure": failure, "seconds_left": None, "message": failure.message})
        return Failed(message=failure.message)

    @property
    def receipt(self) -> Receipt:
        """What has been used so far."""
        return self._record.receipt

    @property
    def voiceover_key(self) -> str | None:
        """The sound of the job's voiceover: of this try, an earlier one, or the job whose film this one changes."""
        return self._record.voiceover_key

    @property
    def _receipt(self) -> Receipt:
        return self._record.receipt

    @_receipt.setter
    def _receipt(self, receipt: Receipt) -> None:
        self._record = self._record.model_copy(update={"receipt": receipt})

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._stage_began

    def _seconds_with(self, stage: Stage) -> dict[Stage, float]:
        return {**self._record.stage_seconds, stage: round(self._elapsed, 3)}

    async def _show(self, share: float, changes: Mapping[str, object]) -> None:
        self._record = self._record.model_copy(update=changes)
        await self._write({"progress": round(progress_at(self._record.stage, share), 4)})
        await self._bar.show(self._record.progress, self._record.message)

    async def _write(self, changes: Mapping[str, object]) -> None:
        self._record = self._record.model_copy(update=changes)
        try:
            await self._records.write(self._record)
        except RedisError as error:
            get_run_logger().warning("The job's record is behind: %s", error)
