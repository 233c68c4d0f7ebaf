"""What Prefect's API says about runs, and the run as the rest of the project sees it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tabario import names
from tabario.jobs import STORED, Job


class RunState(StrEnum):
    """The state of a run."""

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CRASHED = "crashed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a run in this state has ended. A crashed run may still be resumed."""
        return self in TERMINAL


TERMINAL: Final = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.CANCELLED})

# A paused run waits, and keeps its slot, until an operator lets it go on.
STATES: Final[dict[str, RunState]] = {
    "SCHEDULED": RunState.QUEUED,
    "PAUSED": RunState.QUEUED,
    **{state.name: state for state in RunState if state is not RunState.QUEUED},
}
LIVE_TYPES: Final = sorted(kind for kind, state in STATES.items() if not state.terminal)
TERMINAL_TYPES: Final = sorted(kind for kind, state in STATES.items() if state.terminal)


class Run(BaseModel):
    """A flow run of ours: one job, in the state that Prefect gives.

    `state_id` changes with each transition. `message` is Prefect's, for operators' eyes. `lease_id` is the lease that
    holds the run's slot. `run_count` is how often the flow has started.
    """

    model_config = ConfigDict(frozen=True)

    flow_run_id: UUID
    name: str
    job: Job
    state: RunState
    state_id: UUID
    state_since: AwareDatetime
    message: str
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    lease_id: UUID
    run_count: int

    @property
    def limit(self) -> str:
        """Name of the concurrency limit whose slot the run holds."""
        return names.slot_limit(self.job.user_id)


class RunPage(BaseModel):
    """Some runs of a user, newest first. `next_cursor` is None on the last page."""

    model_config = ConfigDict(frozen=True)

    runs: tuple[Run, ...]
    next_cursor: str | None


class StateBody(BaseModel):
    """A state in Prefect's words."""

    id: UUID
    type: str
    timestamp: AwareDatetime
    message: str | None = None


class FlowRunBody(BaseModel):
    """The fields used of Prefect's flow run."""

    id: UUID
    name: str
    created: AwareDatetime
    expected_start_time: AwareDatetime | None = None
    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    deployment_id: UUID | None = None
    idempotency_key: str | None = None
    run_count: int = 0
    parameters: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, Any] = Field(default_factory=dict)
    state: StateBody | None = None


class SetStateBody(BaseModel):
    """Prefect's answer to a proposed state. `status` is ACCEPT, REJECT, ABORT or WAIT."""

    status: str
    state: StateBody | None = None


def our_run(body: FlowRunBody, deployment_id: UUID) -> Run | None:
    """The run, or None when it is not one that the front door made.

    Anyone with access to Prefect can make a run with our tags and labels. Ours is of our deployment, has a valid job as
    its parameter, the name that belongs to this job, and a lease. While versions change, a front door sees jobs of an
    older and of a newer one: what it does not know of a job is no reason to let go of its slot.
    """
    if body.deployment_id != deployment_id or body.state is None or body.state.type not in STATES:
        return None
    try:
        job = Job.model_validate(body.parameters.get("job"), extra="ignore", context=STORED)
        lease_id = UUID(str(body.labels.get(names.LEASE_LABEL, body.idempotency_key)))
    except (ValidationError, ValueError):
        return None
    if body.name != names.workflow_id(job.user_id, job.run_id):
        return None
    return Run(
        flow_run_id=body.id,
        name=body.name,
        job=job,
        state=STATES[body.state.type],
        state_id=body.state.id,
        state_since=body.state.timestamp,
        message=body.state.message or "",
        created_at=body.created,
        started_at=body.start_time if body.run_count else None,  # Prefect gives a run that never ran one at its end
        ended_at=body.end_time,
        lease_id=lease_id,
        run_count=body.run_count,
    )
