"""How an accepted request becomes a flow run, and how each step is undone when a later one fails."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from api.caller import Caller
from api.references import RunReferences, run_id_taken
from tabario.clients.prefect import Lease, OutcomeUnknown, Run
from tabario.errors import Forbidden, NotFound, RetryLater, SlotsFull
from tabario.jobs import Job, JobRequest
from tabario.metrics.definitions import JOBS_ENQUEUED, SUBMISSIONS_REJECTED
from tabario.metrics.recorder import Recorder
from tabario.queue import JobQueue
from tabario.records import JobRecord, JobRecords
from tabario.tiers import Tier


class Admitting(Protocol):
    """Claims slots. `tabario.slots` has the real one."""

    async def admit(self, user_id: str, tier: Tier, *, resize: bool) -> Lease:
        """Claims a slot, letting the user's limit follow the tier if `resize`. Raises SlotsFull or RetryLater."""
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
        """Creates the job's flow run. Raises OutcomeUnknown when it may exist all the same."""
        ...


class Submission:
    """Starts jobs."""

    def __init__(  # noqa: PLR0913 - one parameter a collaborator
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

    async def submit(self, caller: Caller, request: JobRequest) -> Run:
        """Starts a job for the caller.

        Raises Forbidden for a job in somebody else's name, Conflict for a `run_id` in use, SlotsFull, and RetryLater.
        """
        if request.user_id not in (None, caller.user_id):
            raise Forbidden("user_id is not the user of the access token; leave it out.")
        job = Job(
            job_id=uuid.uuid4(),
            user_id=caller.user_id,
            run_id=request.run_id or uuid.uuid4().hex,
            tier=caller.tier,
            accepted_at=datetime.now(UTC),
            spec=request.spec(),
        )
        try:
            run = await self._start(job, caller, named=request.run_id is not None)
        except (SlotsFull, RetryLater) as refusal:
            rejected = SUBMISSIONS_REJECTED.increment(tier=job.tier, reason=refusal.code)
            await self._recorder.record(f"{job.job_id}:rejected", rejected)
            raise
        await self._recorder.record(f"{job.job_id}:enqueued", JOBS_ENQUEUED.increment())
        return run

    async def _start(self, job: Job, caller: Caller, *, named: bool) -> Run:
        async with AsyncExitStack() as undo:
            if named:
                await self._references.reserve(job)
                undo.push_async_callback(self._references.release, job)
                await self._refuse_used_reference(job)
            lease = await self._admission.admit(caller.user_id, caller.tier, resize=caller.tier_is_certain)
            undo.push_async_callback(self._admission.give_back, lease)
            undo.push_async_callback(self._forget, job)
            await self._announce(job)
            try:
                run = await self._runs.create_run(job, lease_id=lease.id)
            except OutcomeUnknown:
                # If the run exists it needs its slot, name and record. If not, all three expire by themselves.
                undo.pop_all()
                await self._queue.remove(job.job_id)
                raise
            undo.pop_all()
        return run

    async def _refuse_used_reference(self, job: Job) -> None:
        with suppress(NotFound):
            await self._runs.find_run(job.user_id, job.run_id)
            raise run_id_taken()

    async def _announce(self, job: Job) -> None:
        """Before the run exists: a fast worker must find the record and the queue entry, or would race us for them."""
        await self._records.write(JobRecord(job_id=job.job_id))
        await self._queue.push(job.job_id)

    async def _forget(self, job: Job) -> None:
        await self._queue.remove(job.job_id)
        await self._records.delete(job.job_id)
