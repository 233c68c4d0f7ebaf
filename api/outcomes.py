"""What is noted once a run has ended: the keeper calls this, after the run's slot is free."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from tabario.clients.prefect import Run, RunState
from tabario.jobs import Job
from tabario.metrics.definitions import (
    BYTES_STORED,
    CHARACTERS_SPOKEN,
    GPU_SECONDS,
    JOB_TOTAL_SECONDS,
    JOBS_CANCELLED,
    JOBS_COMPLETED,
    JOBS_ENQUEUED,
    JOBS_FAILED,
    PICTURES_PAINTED,
    SCENES_REGENERATED,
    STAGE_SECONDS,
)
from tabario.metrics.ledger import GUARD_SECONDS
from tabario.metrics.recorder import SureRecorder
from tabario.metrics.series import Observation
from tabario.queue import JobQueue
from tabario.records import JobFailure, JobRecord, JobRecords, Receipt, Stage
from tabario.tiers import Tier

Recording = Callable[..., Awaitable[None]]

# The guard is set a little after the acceptance, and hosts' clocks differ: an hour is more than both.
MADE_UP_FOR_WITHIN: Final = timedelta(seconds=GUARD_SECONDS) - timedelta(hours=1)

_MESSAGES: Final = {
    RunState.CANCELLED: "The job was cancelled.",
    RunState.CRASHED: "The process that made the film died, and starting over did not help.",
    RunState.FAILED: "The job failed for a reason that it could not report.",
}
_CODES: Final = {RunState.CANCELLED: "cancelled", RunState.CRASHED: "crashed", RunState.FAILED: "failed"}
_REASONS: Final = {RunState.CANCELLED: "cancelled", RunState.CRASHED: "crashed", RunState.FAILED: "error"}


class Outcomes:
    """Notes how runs ended. Safe to repeat for the same run."""

    def __init__(self, *, queue: JobQueue, records: JobRecords, recorder: SureRecorder) -> None:
        self._queue = queue
        self._records = records
        self._recorder = recorder

    async def note(self, run: Run) -> None:
        """Clears the queue entry, writes a failure that the flow could not write, and counts the end once.

        Raises RetryLater when it could not be counted: what this process kept for later would die with it.
        """
        await self._make_up_for_acceptance(run.job)
        await self._queue.remove(run.job.job_id)
        record = await self._records.read(run.job.job_id) or JobRecord(job_id=run.job.job_id)
        failure = None if run.state is RunState.COMPLETED else await self._settle_failure(run, record)
        used = _usage(run.job.tier, record.receipt)
        counted = (*_observations(run, failure), *used)
        await self._recorder.record_now(
            f"{run.job.job_id}:ended", *counted, happened_at=run.ended_at or run.state_since
        )

    async def _make_up_for_acceptance(self, job: Job) -> None:
        """Counts the job as accepted in place of a front door that died after it made the run.

        A job that took so long that its guard may be gone is left out: nearly all are counted when they are accepted.
        To keep the guards of all jobs for as long as any may take would cost memory for the sake of those few.
        """
        if datetime.now(UTC) - job.accepted_at < MADE_UP_FOR_WITHIN:
            await count_acceptance(partial(self._recorder.record_now, happened_at=job.accepted_at), job)

    async def _settle_failure(self, run: Run, record: JobRecord) -> JobFailure:
        """The failure in the record. What the flow wrote stands, unless the run was cancelled under it."""
        if record.failure is not None and run.state is not RunState.CANCELLED:
            return record.failure
        failure = failure_of(run.state, record.stage)
        settled = {"failure": failure, "message": failure.message, "seconds_left": None}
        await self._records.write(record.model_copy(update=settled))
        return failure


async def count_acceptance(record: Recording, job: Job) -> None:
    """Counts a job as accepted, once however often it is told. Raises what `record` raises."""
    regenerated = [SCENES_REGENERATED.increment()] if job.changes else []
    await record(f"{job.job_id}:enqueued", JOBS_ENQUEUED.increment(), *regenerated)


def failure_of(state: RunState, stage: Stage) -> JobFailure:
    """Why a run that ended in this state made no film, as far as the state tells."""
    return JobFailure(stage=stage, code=_CODES[state], reason=_REASONS[state], message=_MESSAGES[state])


def _usage(tier: Tier, receipt: Receipt) -> list[Observation]:
    """What the job used, by its tier."""
    counted = {
        CHARACTERS_SPOKEN: receipt.characters_spoken,
        PICTURES_PAINTED: receipt.pictures_painted,
        GPU_SECONDS: receipt.gpu_seconds,
        BYTES_STORED: receipt.bytes_stored,
    }
    return [
        *(counter.increment(amount, tier=tier) for counter, amount in counted.items() if amount),
        *(STAGE_SECONDS.increment(seconds, tier=tier, stage=stage) for stage, seconds in receipt.stage_seconds.items()),
    ]


def _observations(run: Run, failure: JobFailure | None) -> list[Observation]:
    """A cancelled job counts as neither completed nor failed, and its time says nothing about the work."""
    if run.state is RunState.CANCELLED:
        return [JOBS_CANCELLED.increment()]
    seconds = ((run.ended_at or datetime.now(UTC)) - run.job.accepted_at).total_seconds()
    count = JOBS_FAILED.increment(reason=failure.reason) if failure else JOBS_COMPLETED.increment()
    return [count, JOB_TOTAL_SECONDS.observe(seconds)]
