"""A crashed run is started over a limited number of times, whatever is left of what was counted."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import NotDone, PrefectApi, Run
from tabario.clients.prefect.http import PrefectHttp
from tabario.slots.clock import utc_now
from tabario.slots.heartbeat import beating
from tabario.slots.keeper import Keeper
from tabario.slots.resume import CRASH_SETTLES, Resumer
from tests.integration.slots.conftest import StartRun
from tests.support.orchestrator import FickleTransport, Orchestrator, SettableClock, new_user


async def as_it_is(orchestrator: Orchestrator, run: Run) -> Run:
    return await orchestrator.prefect.find_run(run.job.user_id, run.job.run_id)


@pytest.fixture
def resumer(prefect: PrefectApi, redis: Redis) -> Resumer:
    return Resumer(prefect, redis, resumes=2, clock=lambda: utc_now() + CRASH_SETTLES)


async def test_one_that_never_starts_is_resumed_twice(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, clock: SettableClock, redis: Redis
) -> None:
    run = await start(new_user())
    key = names.resumes_key(run.flow_run_id)
    clock.advance(6)
    for time in (1, 2):
        await orchestrator.set_state(run, "CRASHED")  # Prefect counts no start of it
        assert (await keeper.sweep()).resumed == 1
        state = (await orchestrator.http.get(f"/flow_runs/{run.flow_run_id}")).json()["state"]
        assert state["message"] == f"Resumed after a crash, time {time} of 2."
        assert 0 < await redis.ttl(key) <= timedelta(days=7).total_seconds()
    await orchestrator.set_state(run, "CRASHED")
    report = await keeper.sweep()
    assert (report.resumed, report.settled) == (0, 1)


async def test_prefects_own_count_of_starts_is_enough(
    resumer: Resumer, start: StartRun, orchestrator: Orchestrator
) -> None:
    run = await start(new_user())
    for may in (True, True, False):
        await orchestrator.set_state(run, "RUNNING")
        await orchestrator.set_state(run, "CRASHED")
        assert await resumer.may_resume(await as_it_is(orchestrator, run)) is may


async def test_it_waits_for_the_workers_second_report(
    prefect: PrefectApi, redis: Redis, start: StartRun, orchestrator: Orchestrator
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "CRASHED")
    run = await as_it_is(orchestrator, run)
    settled = run.state_since + CRASH_SETTLES
    early = Resumer(prefect, redis, resumes=2, clock=lambda: settled - timedelta(milliseconds=1))
    assert not await early.resume(run)
    assert await orchestrator.state_of(run) == "Crashed"
    assert await Resumer(prefect, redis, resumes=2, clock=lambda: settled).resume(run)
    assert await orchestrator.state_of(run) == "AwaitingRetry"


async def test_its_next_process_has_as_long_for_its_first_beat(
    resumer: Resumer, redis: Redis, start: StartRun, orchestrator: Orchestrator
) -> None:
    run = await start(new_user())
    async with beating(redis, run.flow_run_id):
        await orchestrator.set_state(run, "CRASHED")
    assert await resumer.resume(await as_it_is(orchestrator, run))
    assert not await redis.exists(names.beat_key(run.flow_run_id))


async def test_a_run_that_was_moved_on_meanwhile_is_left_alone_and_nothing_is_counted(
    resumer: Resumer, redis: Redis, start: StartRun, orchestrator: Orchestrator
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "CRASHED")
    run = await as_it_is(orchestrator, run)
    await orchestrator.set_state(run, "CANCELLED")
    assert not await resumer.resume(run)
    assert await orchestrator.state_of(run) == "Cancelled"
    key = names.resumes_key(run.flow_run_id)
    assert await redis.get(key) == "0"
    assert 0 < await redis.ttl(key) <= timedelta(days=7).total_seconds()


async def test_what_prefect_never_heard_of_is_not_counted(
    redis: Redis, start: StartRun, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "CRASHED")
    run = await as_it_is(orchestrator, run)
    monkeypatch.setattr("tabario.clients.prefect.http.RETRY_SECONDS", 0)
    transport = FickleTransport()
    transport.away = True
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=transport) as http:
        away = PrefectApi(PrefectHttp(idle=http, fresh=http, one_writer=True))
        with pytest.raises(NotDone):
            await Resumer(away, redis, resumes=2, clock=lambda: utc_now() + CRASH_SETTLES).resume(run)
    key = names.resumes_key(run.flow_run_id)
    assert await redis.get(key) == "0"
    assert 0 < await redis.ttl(key) <= timedelta(days=7).total_seconds()
