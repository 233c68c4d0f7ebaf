from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tabario import names
from tabario.clients.prefect import PrefectApi, RunState, open_prefect
from tabario.errors import Conflict, InvalidInput, NotFound
from tabario.settings import PrefectSettings
from tabario.tiers import Tier
from tests.support.orchestrator import Orchestrator, make_job, new_user
from tests.support.servers import free_port


async def test_a_created_run_holds_the_job_and_waits_in_its_tiers_queue(orchestrator: Orchestrator) -> None:
    job, lease_id = make_job(new_user(), tier=Tier.PREMIUM), uuid4()
    run = await orchestrator.prefect.create_run(job, lease_id=lease_id)
    assert (run.job, run.lease_id, run.state) == (job, lease_id, RunState.QUEUED)
    stored = (await orchestrator.http.get(f"/flow_runs/{run.flow_run_id}")).json()
    assert stored["name"] == names.workflow_id(job.user_id, job.run_id)
    assert stored["work_queue_name"] == "premium"
    assert names.user_tag(job.user_id) in stored["tags"]
    assert job.user_id not in "".join(stored["tags"])


async def test_creating_a_run_again_with_the_same_lease_gives_the_same_run(prefect: PrefectApi) -> None:
    job, lease_id = make_job(new_user()), uuid4()
    first = await prefect.create_run(job, lease_id=lease_id)
    assert await prefect.create_run(job, lease_id=lease_id) == first
    assert [run.flow_run_id for run in await prefect.live_runs(job.user_id)] == [first.flow_run_id]


async def test_a_run_is_found_by_either_reference_and_only_by_its_owner(prefect: PrefectApi) -> None:
    job = make_job(new_user())
    run = await prefect.create_run(job, lease_id=uuid4())
    assert await prefect.find_run(job.user_id, job.run_id) == run
    assert await prefect.find_run(job.user_id, str(run.flow_run_id)) == run
    for reference in (job.run_id, str(run.flow_run_id)):
        with pytest.raises(NotFound):
            await prefect.find_run(new_user(), reference)


async def test_pages_list_every_run_of_the_user_once_newest_first(prefect: PrefectApi) -> None:
    user_id = new_user()
    made = [(await prefect.create_run(make_job(user_id), lease_id=uuid4())).flow_run_id for _ in range(5)]
    await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    seen, cursor = [], None
    while True:
        page = await prefect.list_runs(user_id, limit=2, cursor=cursor)
        seen += [run.flow_run_id for run in page.runs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "é", "e30=", "bnVsbA=="])
async def test_a_made_up_cursor_is_refused(prefect: PrefectApi, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        await prefect.list_runs(new_user(), limit=2, cursor=cursor)


async def test_a_waiting_run_is_cancelled_at_once_and_again_without_complaint(orchestrator: Orchestrator) -> None:
    prefect = orchestrator.prefect
    run = await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await prefect.cancel_run(run)
    assert await orchestrator.state_of(run) == "Cancelled"
    ended = await prefect.read_run(run.flow_run_id)
    assert ended is not None
    assert ended.ended_at is not None
    assert ended.started_at is None  # though Prefect notes a start
    await prefect.cancel_run(run)


async def test_a_run_that_a_worker_has_taken_and_not_begun_is_cancelled_at_once(orchestrator: Orchestrator) -> None:
    prefect = orchestrator.prefect
    queued = await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await orchestrator.set_state(queued, "PENDING")
    await prefect.cancel_run(queued)  # as it was seen a moment ago
    assert await orchestrator.state_of(queued) == "Cancelled"

    run = await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await orchestrator.set_state(run, "PENDING")
    pending = await prefect.read_run(run.flow_run_id)
    assert pending is not None
    await prefect.cancel_run(pending)
    assert await orchestrator.state_of(run) == "Cancelled"


async def test_a_running_run_is_asked_to_stop(orchestrator: Orchestrator) -> None:
    prefect = orchestrator.prefect
    run = await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await orchestrator.set_state(run, "PENDING")
    await orchestrator.set_state(run, "RUNNING")
    await prefect.cancel_run(run)
    await prefect.cancel_run(run)
    assert await orchestrator.state_of(run) == "Cancelling"
    running = await prefect.read_run(run.flow_run_id)
    assert running is not None
    assert running.started_at is not None


async def test_an_ended_run_cannot_be_cancelled(orchestrator: Orchestrator) -> None:
    run = await orchestrator.prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await orchestrator.set_state(run, "COMPLETED")
    with pytest.raises(Conflict) as refusal:
        await orchestrator.prefect.cancel_run(run)
    assert refusal.value.conflict_code == "run_ended"


async def test_a_resumed_run_that_waits_is_cancelled_at_once_too(orchestrator: Orchestrator) -> None:
    prefect = orchestrator.prefect
    run = await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await orchestrator.http.patch(f"/flow_runs/{run.flow_run_id}", json={"infrastructure_pid": "host:1"})
    await orchestrator.set_state(run, "CRASHED")
    crashed = await prefect.find_run(run.job.user_id, run.job.run_id)
    assert await prefect.resume_run(crashed, "again")
    assert await orchestrator.state_of(run) == "AwaitingRetry"
    await prefect.cancel_run(run)
    assert await orchestrator.state_of(run) == "Cancelled"


async def test_a_run_that_moved_on_is_neither_ended_nor_resumed(orchestrator: Orchestrator) -> None:
    prefect = orchestrator.prefect
    run = await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await orchestrator.set_state(run, "COMPLETED")
    assert not await prefect.end_run(run, RunState.CRASHED, "dead")
    assert not await prefect.resume_run(run, "again")
    assert await orchestrator.state_of(run) == "Completed"


async def test_runs_that_ended_are_listed_from_a_time_on(orchestrator: Orchestrator) -> None:
    run = await orchestrator.prefect.create_run(make_job(new_user()), lease_id=uuid4())
    await orchestrator.set_state(run, "FAILED")
    now = datetime.now(UTC)
    ended = await orchestrator.prefect.ended_runs(now - timedelta(seconds=60))
    assert run.flow_run_id in [one.flow_run_id for one in ended]
    assert await orchestrator.prefect.ended_runs(now + timedelta(seconds=60)) == []


async def test_counts_tell_how_many_runs_are_in_each_state(prefect: PrefectApi) -> None:
    before = await prefect.counts()
    await prefect.create_run(make_job(new_user()), lease_id=uuid4())
    assert (await prefect.counts())[RunState.QUEUED] == before[RunState.QUEUED] + 1


async def test_runs_that_crashed_lately_are_found_by_their_owner(orchestrator: Orchestrator) -> None:
    job = make_job(new_user())
    made = [await orchestrator.prefect.create_run(make_job(job.user_id), lease_id=uuid4()) for _ in range(3)]
    await orchestrator.set_state(made[0], "CRASHED")
    await orchestrator.set_state(made[1], "FAILED")
    crashed = await orchestrator.prefect.crashed_runs(job.user_id)
    assert [(run.flow_run_id, run.state) for run in crashed] == [(made[0].flow_run_id, RunState.CRASHED)]
    assert await orchestrator.prefect.crashed_runs(new_user()) == []
    await orchestrator.set_state(made[0], "FAILED")  # else the keepers of other tests would resume it


async def test_runs_that_only_look_like_ours_are_nobodys(orchestrator: Orchestrator) -> None:
    victim = make_job(new_user())
    tags = [names.user_tag(victim.user_id)]
    parameters = {"job": victim.model_dump(mode="json")}
    await orchestrator.create_foreign_run(tags=tags, parameters={})
    await orchestrator.create_foreign_run(tags=tags, parameters={"job": {"job_id": 7}})
    await orchestrator.create_foreign_run(tags=tags, parameters=parameters, name="another name")
    unleased = await orchestrator.create_foreign_run(
        tags=tags, parameters=parameters, name=names.workflow_id(victim.user_id, victim.run_id)
    )
    assert await orchestrator.prefect.live_runs(victim.user_id) == []
    assert await orchestrator.prefect.read_run(unleased) is None
    with pytest.raises(NotFound):
        await orchestrator.prefect.find_run(victim.user_id, victim.run_id)


async def test_health_tells_whether_prefect_answers(prefect: PrefectApi) -> None:
    assert await prefect.is_healthy()
    async with open_prefect(PrefectSettings(url=f"http://127.0.0.1:{free_port()}/api")) as nobody:
        assert not await nobody.is_healthy()
