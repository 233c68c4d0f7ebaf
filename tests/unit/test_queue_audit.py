"""The list of waiting jobs, kept true."""

from __future__ import annotations

from uuid import UUID

import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import RunState
from tabario.metrics.definitions import QUEUE_DRIFT
from tabario.metrics.series import Observation
from tabario.queue import JobQueue
from tabario.queue_audit import GHOST_SECONDS, MISSING_SECONDS, QueueAudit
from tests.support.jobs import new_job
from tests.support.runs import new_run


class Counts:
    """Keeps what was recorded."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    async def record(self, event_id: str, *observations: Observation) -> None:
        assert event_id
        self.seen += observations


class Auditor:
    """An audit with a clock moved by hand."""

    def __init__(self, redis: Redis) -> None:
        self.now = 0.0
        self.queue = JobQueue(redis)
        self.counts = Counts()
        self.audit = QueueAudit(self.queue, self.counts, monotonic=lambda: self.now)


@pytest.fixture
def auditor(redis: Redis) -> Auditor:
    return Auditor(redis)


@pytest.mark.parametrize("ghost", [str(UUID(int=1)), "of another program"])
async def test_entry_whose_run_was_never_made_is_removed_in_the_end(auditor: Auditor, redis: Redis, ghost: str) -> None:
    await redis.lpush(names.QUEUE_KEY, ghost)
    await auditor.audit.look([])
    auditor.now = GHOST_SECONDS - 1
    await auditor.audit.look([])
    assert await auditor.queue.entries() == [ghost]
    auditor.now = GHOST_SECONDS
    await auditor.audit.look([])
    assert await auditor.queue.entries() == []
    assert auditor.counts.seen == [QUEUE_DRIFT.increment(kind="ghost")]


async def test_entry_of_a_waiting_run_stays(auditor: Auditor) -> None:
    runs = [new_run(new_job(), state=state) for state in (RunState.QUEUED, RunState.PENDING)]
    for run in runs:
        await auditor.queue.push(run.job.job_id)
    for auditor.now in (0, GHOST_SECONDS, 2 * GHOST_SECONDS):
        await auditor.audit.look(runs)
    assert await auditor.queue.depth() == 2
    assert auditor.counts.seen == []


async def test_start_that_takes_long_is_no_ghost(auditor: Auditor) -> None:
    run = new_run(new_job())
    await auditor.queue.push(run.job.job_id)
    await auditor.audit.look([])
    auditor.now = GHOST_SECONDS - 1
    await auditor.audit.look([run])
    auditor.now = GHOST_SECONDS + 1
    await auditor.audit.look([])
    assert await auditor.queue.depth() == 1


async def test_waiting_run_that_is_not_listed_is_added(auditor: Auditor) -> None:
    run = new_run(new_job())
    await auditor.audit.look([run])
    assert await auditor.queue.depth() == 0
    auditor.now = MISSING_SECONDS
    await auditor.audit.look([run])
    await auditor.audit.look([run])
    assert await auditor.queue.entries() == [str(run.job.job_id)]
    assert auditor.counts.seen == [QUEUE_DRIFT.increment(kind="missing")]


@pytest.mark.parametrize("changes", [{"state": RunState.RUNNING}, {"run_count": 1}])
async def test_job_that_has_begun_is_not_added_again(auditor: Auditor, changes: dict[str, object]) -> None:
    run = new_run(new_job()).model_copy(update=changes)
    for auditor.now in (0, MISSING_SECONDS, 2 * MISSING_SECONDS):
        await auditor.audit.look([run])
    assert await auditor.queue.depth() == 0


async def test_audit_outlives_an_outage_of_redis() -> None:
    lost = Auditor(Redis.from_url("redis://127.0.0.1:1/0", decode_responses=True, retry=None))
    await lost.audit.look([new_run(new_job())])
    assert lost.counts.seen == []
