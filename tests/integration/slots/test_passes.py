"""What a pass of the keeper reports and repairs when only a part of it succeeds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from redis.asyncio import Redis

from tabario.clients.prefect import PrefectApi
from tabario.clients.prefect.http import PrefectHttp
from tabario.clients.prefect.queues import QUEUES
from tabario.settings import SlotSettings
from tabario.slots.claims import Claims
from tabario.slots.clock import utc_now
from tabario.slots.keeper import Keeper
from tests.integration.slots.conftest import StartRun, no_hints
from tests.support.orchestrator import Orchestrator, PatientTransport, SettableClock, new_user


class NoQueues(PatientTransport):
    """Everything but the work queues can be reached."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if QUEUES in request.url.path:
            raise httpx.ConnectError("refused", request=request)
        return await super().handle_async_request(request)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows the time of a zone far from UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
async def test_ended_runs_are_found_in_every_time_zone(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator
) -> None:
    run = await start(new_user())
    await keeper.sweep()
    await orchestrator.set_state(run, "COMPLETED")
    assert (await keeper.sweep()).settled == 1


async def test_the_claims_that_led_to_a_closer_look_are_struck_off_and_a_crashed_run_keeps_its_slot(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, redis: Redis, clock: SettableClock
) -> None:
    run, claims = await start(new_user()), Claims(redis, clock=lambda: utc_now() - timedelta(days=1))
    await keeper.sweep()  # strikes off its claim
    await orchestrator.set_state(run, "CRASHED")  # it lives no more, and is resumed only later
    await claims.enter(run.limit, "an old claim", seconds=60)
    now = Claims(redis, clock=clock)
    assert await now.overdue() == {run.limit}

    assert (await keeper.sweep()).freed == 0
    assert await orchestrator.active_slots(run.job.user_id) == 1
    assert await now.overdue() == set()


async def test_work_queues_out_of_reach_do_not_spoil_a_pass(
    start: StartRun, orchestrator: Orchestrator, redis: Redis, slots: SlotSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start(new_user())
    monkeypatch.setattr("tabario.clients.prefect.http.RETRY_SECONDS", 0)
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=NoQueues(), timeout=30) as http:
        prefect = PrefectApi(PrefectHttp(idle=http, fresh=http, one_writer=True))
        keeper = Keeper(prefect, redis, slots, hints=no_hints)
        assert await keeper.lead()
        await orchestrator.set_state(run, "COMPLETED")
        report = await keeper.sweep()
    assert (report.settled, report.overdue) == (1, False)
