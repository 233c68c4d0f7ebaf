"""What is noted and counted when a job ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from tabario import names
from tabario.clients.prefect import RunState
from tabario.errors import RetryLater
from tabario.jobs import SceneChange
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
from tabario.metrics.ledger import SINCE_FIELD
from tabario.records import JobFailure, JobRecord, Receipt, Stage
from tests.support.front_door import FrontDoor
from tests.support.runs import new_run
from tests.support.submitted import count, filmed, started


async def test_completed_job_is_counted_once(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = await filmed(door, client)
    await door.outcomes.note(run)
    await door.outcomes.note(run)
    assert await count(door, JOBS_COMPLETED.increment()) == 1
    assert await count(door, JOB_TOTAL_SECONDS.observe(0)) == 1
    record = await door.records.read(run.job.job_id)
    assert record is not None
    assert record.failure is None


async def test_end_that_redis_does_not_take_is_told_again_and_counted_once(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await filmed(door, client)
    await door.redis.set(names.METRICS_KEY, "not a hash")  # as long as it is none, nothing can be counted
    with pytest.raises(RetryLater):
        await door.outcomes.note(run)
    await door.redis.delete(names.METRICS_KEY)
    await door.outcomes.note(run)
    assert await count(door, JOBS_COMPLETED.increment()) == 1


async def test_what_a_job_used_is_in_its_status_and_counted_once_by_tier(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await filmed(door, client)
    record = await door.records.read(run.job.job_id)
    assert record is not None
    used = Receipt(characters_spoken=120, gpu_seconds=4.5, pictures_painted=3, bytes_stored=1024).plus_seconds(
        Stage.IMAGES, 7.5
    )
    await door.records.write(record.model_copy(update={"receipt": used}))

    await door.outcomes.note(run)
    await door.outcomes.note(run)

    shown = (await client.get("/orchestrate/status/lisbon")).json()["receipt"]
    assert shown["stage_seconds"] == {"images": 7.5}
    assert (shown["characters_spoken"], shown["pictures_painted"], shown["bytes_stored"]) == (120, 3, 1024)
    assert await count(door, CHARACTERS_SPOKEN.increment(tier="standard")) == 120
    assert await count(door, GPU_SECONDS.increment(tier="standard")) == 4.5
    assert await count(door, PICTURES_PAINTED.increment(tier="standard")) == 3
    assert await count(door, BYTES_STORED.increment(tier="standard")) == 1024
    assert await count(door, STAGE_SECONDS.increment(tier="standard", stage="images")) == 7.5


async def test_job_is_counted_as_accepted_once_even_when_the_front_door_died_before_it_could(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await filmed(door, client)
    await door.outcomes.note(run)
    assert await count(door, JOBS_ENQUEUED.increment()) == 1
    uncounted = door.prefect.move(new_run(run.job.model_copy(update={"job_id": uuid4()})), RunState.CANCELLED)
    await door.outcomes.note(uncounted)
    assert await count(door, JOBS_ENQUEUED.increment()) == 2


async def test_job_that_took_longer_than_its_guard_is_not_counted_as_accepted_again(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await filmed(door, client)
    await door.redis.expire(names.metrics_event_key(f"{run.job.job_id}:enqueued"), 0)  # as a day later
    await door.redis.hset(names.METRICS_KEY, SINCE_FIELD, 0)  # and long after counting began
    accepted = datetime.now(UTC) - timedelta(hours=25)
    changes = {1: SceneChange(seed=7)}
    job = run.job.model_copy(update={"accepted_at": accepted, "changes": changes})
    await door.outcomes.note(run.model_copy(update={"job": job}))
    assert await count(door, JOBS_ENQUEUED.increment()) == 1
    assert await count(door, SCENES_REGENERATED.increment()) == 0
    assert await count(door, JOBS_COMPLETED.increment()) == 1


@pytest.mark.parametrize(
    ("state", "code", "reason"), [(RunState.CRASHED, "crashed", "crashed"), (RunState.FAILED, "failed", "error")]
)
async def test_failure_that_the_flow_could_not_write_is_noted(
    door: FrontDoor, client: httpx.AsyncClient, state: RunState, code: str, reason: str
) -> None:
    run = await started(door, client)
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.IMAGES, progress=0.5, seconds_left=9))
    await door.outcomes.note(door.prefect.move(run, state))
    body = (await client.get("/orchestrate/status/lisbon")).json()
    assert (body["failure"]["stage"], body["failure"]["code"]) == ("images", code)
    assert body["message"] == body["failure"]["message"]
    assert await count(door, JOBS_FAILED.increment(reason=reason)) == 1
    assert await door.queue.depth() == 0


async def test_failure_that_the_flow_wrote_stands(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = await started(door, client)
    failure = JobFailure(
        stage=Stage.IMAGES, code="image_timed_out", reason="timeout", message="Picture 3 took too long."
    )
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.IMAGES, failure=failure))
    await door.outcomes.note(door.prefect.move(run, RunState.FAILED))
    record = await door.records.read(run.job.job_id)
    assert record is not None
    assert record.failure == failure
    assert await count(door, JOBS_FAILED.increment(reason="timeout")) == 1


async def test_cancelled_job_counts_neither_as_completed_nor_as_failed(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await started(door, client)
    await door.outcomes.note(door.prefect.move(run, RunState.CANCELLED))
    assert (await client.get("/orchestrate/status/lisbon")).json()["failure"]["code"] == "cancelled"
    assert await count(door, JOBS_CANCELLED.increment()) == 1
    assert await count(door, JOBS_FAILED.increment(reason="error")) == 0
    assert await count(door, JOB_TOTAL_SECONDS.observe(0)) == 0
