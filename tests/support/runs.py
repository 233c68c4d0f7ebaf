"""Prefect and the slots in memory, with the behaviour that the front door relies on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from tabario import names
from tabario.clients.prefect import Lease, OutcomeUnknown, Run, RunPage, RunState
from tabario.errors import Conflict, InvalidInput, NotFound, SlotsFull
from tabario.jobs import Job
from tabario.settings import SlotSettings
from tabario.tiers import Tier


class InMemoryPrefect:
    """Keeps flow runs. `failing` is raised by the next create; `healthy` is what readiness sees."""

    def __init__(self) -> None:
        self.runs: dict[UUID, Run] = {}
        self.failing: BaseException | None = None
        self.healthy = True

    async def create_run(self, job: Job, *, lease_id: UUID) -> Run:
        made = next((run for run in self.runs.values() if run.lease_id == lease_id), None)
        if made is not None:
            return made
        failing, self.failing = self.failing, None
        if failing is not None and not isinstance(failing, OutcomeUnknown):
            raise failing
        run = new_run(job, lease_id=lease_id)
        self.runs[run.flow_run_id] = run
        if failing is not None:
            raise failing
        return run

    async def find_run(self, user_id: str, reference: str) -> Run:
        for run in self._of(user_id):
            if reference in (run.job.run_id, str(run.flow_run_id)):
                return run
        raise NotFound("You have no such run.")

    async def list_runs(self, user_id: str, *, limit: int, cursor: str | None) -> RunPage:
        if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
            raise InvalidInput("cursor", "Is not a cursor of this list; leave it out to start anew.")
        start = int(cursor or 0)
        runs = self._of(user_id)[::-1]
        following = str(start + limit) if len(runs) > start + limit else None
        return RunPage(runs=tuple(runs[start : start + limit]), next_cursor=following)

    async def live_runs(self, user_id: str) -> Sequence[Run]:
        return [run for run in self._of(user_id) if not run.state.terminal]

    async def crashed_runs(self, user_id: str) -> Sequence[Run]:
        return [run for run in self._of(user_id) if run.state is RunState.CRASHED]

    async def cancel_run(self, run: Run) -> None:
        if self.runs[run.flow_run_id].state.terminal:
            raise Conflict("The run has already ended.", code="run_ended")
        self.move(run, RunState.CANCELLING)

    async def end_run(self, run: Run, state: RunState, message: str) -> bool:  # noqa: ARG002 - not kept
        if self.runs[run.flow_run_id].state_id != run.state_id:
            return False
        self.move(run, state)
        return True

    async def is_healthy(self) -> bool:
        return self.healthy

    def move(self, run: Run, state: RunState) -> Run:
        """Puts a run in a state, as a worker would."""
        now = datetime.now(UTC)
        changes: dict[str, Any] = {"state": state, "state_id": uuid4(), "state_since": now}
        if state.terminal:
            changes["ended_at"] = now
        moved = run.model_copy(update=changes)
        self.runs[run.flow_run_id] = moved
        return moved

    def _of(self, user_id: str) -> list[Run]:
        return [run for run in self.runs.values() if run.job.user_id == user_id]


class InMemoryAdmission:
    """Grants as many slots as the tier has."""

    def __init__(self, settings: SlotSettings) -> None:
        self._settings = settings
        self.held: dict[UUID, str] = {}
        self.failing: Exception | None = None

    async def admit(self, user_id: str, tier: Tier, *, resize: bool) -> Lease:  # noqa: ARG002 - no limit to resize
        if self.failing is not None:
            raise self.failing
        lease = Lease(id=uuid4(), limit=names.slot_limit(user_id))
        slots = self._settings.slots(tier)
        if list(self.held.values()).count(lease.limit) >= slots:
            raise SlotsFull(limit=slots, retry_after=30)
        self.held[lease.id] = lease.limit
        return lease

    async def keep(self, lease: Lease) -> bool:
        return lease.id in self.held

    async def give_back(self, lease: Lease) -> None:
        del self.held[lease.id]


def new_run(job: Job, *, lease_id: UUID | None = None, state: RunState = RunState.QUEUED) -> Run:
    """A run of the job that has just been created."""
    now = datetime.now(UTC)
    return Run(
        flow_run_id=uuid4(),
        name=names.workflow_id(job.user_id, job.run_id),
        job=job,
        state=state,
        state_id=uuid4(),
        state_since=now,
        message="",
        created_at=now,
        started_at=None,
        ended_at=now if state.terminal else None,
        lease_id=lease_id or uuid4(),
        run_count=0,
    )
