"""How an accepted request becomes a flow run, and how each step is undone when a later one fails."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Protocol
from uuid import UUID

from api.outcomes import count_acceptance
from api.references import RunReferences, run_id_busy, run_id_taken
from tabario.clients.prefect import Lease, OutcomeUnknown, Run
from tabario.errors import NotFound, RetryLater, SlotsFull, TabarioError
from tabario.jobs import Job
from tabario.metrics.definitions import SUBMISSIONS_REJECTED
from tabario.metrics.recorder import Recorder
from tabario.queue import JobQueue
from tabario.records import JobRecord, JobRecords
from tabario.tiers import Tier


class StartInDoubt(RetryLater):
    """The run may exist, or come to exist; `lease` holds its slot meanwhile."""

    def __init__(self, cause: RetryLater, lease: Lease) -> None:
        super().__init__(str(cause), retry_after=cause.retry_after)
        self.lease = lease


class Admitting(Protocol):
    """Claims slots. `tabario.slots` has the real one."""

    async def admit(self, user_id: str, tier: Tier, *, resize: bool) -> Lease:
        """Claims a slot, letting the user's limit follow the tier if `resize`. Raises SlotsFull or RetryLater."""
        ...

    async def keep(self, lease: Lease) -> bool:
        """Holds a claimed slot for longer; says False when it is lost."""
        ...

    async def give_back(self, lease: Lease) -> None:
        """Frees a slot that no run came to hold."""
        ...


class Creating(Protocol):
    """Creates flow runs. `tabario.clients.prefect` has the real one."""

    async def find_run(self, user_id: str, reference: str) -> Run:
        """The user's run with this `run_id`. Raises NotFound."""
        ...

    async def create_run(self, job: Job, *, lease_id: UUID) -> Run:
        """Creates the job's flow run, once for a lease. Raises OutcomeUnknown when it may exist all the same."""
        ...


class Submission:
    """Starts jobs."""

    def __init__(  # noqa: PLR0913 - all it works with is handed in, by name
        self,
        *,
        admission: Admitting,
        runs: Creating,
        references: RunReferences,
        queue: JobQueue,
        records: JobRecords,
        recorder: Recorder,
    ) -> None:
        self._admission = admission
        self._runs = runs
        self._references = references
        self._queue = queue
        self._records = records
        self._recorder = recorder

    async def submit(self, job: Job, *, resize: bool, unique: bool = False, claimed: Lease | None = None) -> Run:
        """Starts a job, or finds the run that an earlier try made of it.

        `unique` says that nobody has seen the job's `run_id` before, `claimed` is the slot of an earlier try that was
        in doubt. Raises Conflict for a `run_id` in use, SlotsFull, StartInDoubt, and RetryLater.
        """
        try:
            run = await self._start(job, resize=resize, unique=unique, claimed=claimed)
        except (SlotsFull, RetryLater) as refusal:
            rejected = SUBMISSIONS_REJECTED.increment(tier=job.tier, reason=refusal.code)
            await self._recorder.record(f"{job.job_id}:rejected", rejected)
            raise
        await count_acceptance(self._recorder.record, job)
        return run

    async def _start(self, job: Job, *, resize: bool, unique: bool, claimed: Lease | None) -> Run:
        async with AsyncExitStack() as undo:
            if not unique:
                if not await self._references.reserve(job):
                    await self._made_before(job)  # raises when that job's run exists already
                    raise run_id_busy()
                undo.push_async_callback(self._references.release, job)
                if made := await self._made_before(job):
                    undo.pop_all()
                    return made
            if claimed is not None and await self._admission.keep(claimed):
                undo.pop_all()
                await self._announce(job)
                return await self._create(job, claimed, in_doubt=RetryLater)
            lease = await self._admission.admit(job.user_id, job.tier, resize=resize)
            undo.push_async_callback(self._admission.give_back, lease)
            undo.push_async_callback(self._forget, job)
            await self._announce(job)
            kept = undo.pop_all()
        try:  # from here there may be a run that needs its slot, name and record; else they expire by themselves
            return await self._create(job, lease, in_doubt=OutcomeUnknown)
        except StartInDoubt:
            raise
        except TabarioError:  # certainly there is no run
            await kept.aclose()
            raise

    async def _made_before(self, job: Job) -> Run | None:
        try:
            run = await self._runs.find_run(job.user_id, job.run_id)
        except NotFound:
            return None
        if run.job.job_id != job.job_id:
            raise run_id_taken()
        return run

    async def _create(self, job: Job, lease: Lease, *, in_doubt: type[RetryLater]) -> Run:
        """Creates the run. `in_doubt` are the errors after which it may exist all the same."""
        try:
            return await self._runs.create_run(job, lease_id=lease.id)
        except in_doubt as error:
            await self._queue.remove(job.job_id)
            raise StartInDoubt(error, lease) from error

    async def _announce(self, job: Job) -> None:
        """Before the run exists: a fast worker must find the record and the queue entry, or would race us for them."""
        await self._records.write(JobRecord(job_id=job.job_id))
        await self._queue.push(job.job_id)

    async def _forget(self, job: Job) -> None:
        await self._queue.remove(job.job_id)
        await self._records.delete(job.job_id)
