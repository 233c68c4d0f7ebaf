"""Leases of live runs are renewed in time, and not at every pass."""

from __future__ import annotations

import time

import httpx
import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import PrefectApi
from tabario.clients.prefect.http import PrefectHttp
from tabario.settings import SlotSettings
from tabario.slots.keeper import Keeper
from tabario.slots.renewals import Renewals
from tests.integration.slots.conftest import StartRun, end_of_lease, forget_lease, no_hints
from tests.support.orchestrator import FickleTransport, Orchestrator, SettableClock, StillClock, new_user

THIRD = 60.0  # of a lease of 180 s


async def test_a_lease_is_renewed_when_it_is_new_and_then_after_a_third_of_its_time(
    keeper: Keeper, start: StartRun, clock: SettableClock, prefects_own: Redis
) -> None:
    run = await start(new_user())
    claimed = await end_of_lease(prefects_own, run)
    await keeper.sweep()
    renewed = await end_of_lease(prefects_own, run)
    assert renewed > claimed + 60
    assert renewed == pytest.approx(time.time() + 3 * THIRD, abs=THIRD / 2)
    clock.advance(THIRD / 2)
    await keeper.sweep()
    assert await end_of_lease(prefects_own, run) == renewed
    clock.advance(THIRD / 2)
    await keeper.sweep()
    assert await end_of_lease(prefects_own, run) > renewed


async def test_leases_that_were_new_together_are_renewed_in_turns(
    prefect: PrefectApi, start: StartRun, prefects_own: Redis
) -> None:
    clock, runs = StillClock(), [await start(new_user()) for _ in range(6)]
    renewals = Renewals(prefect.leases, SlotSettings(), clock=clock)
    assert (await renewals.renew(runs)).count == 6
    together = [await end_of_lease(prefects_own, run) for run in runs]
    for _ in range(3):
        clock.advance(THIRD / 3)
        assert (await renewals.renew(runs)).count == 2
    assert all([await end_of_lease(prefects_own, run) > end for run, end in zip(runs, together, strict=True)])


async def test_a_lone_lease_is_due_after_the_pause_and_not_before(prefect: PrefectApi, start: StartRun) -> None:
    clock, runs = StillClock(), [await start(new_user())]
    renewals = Renewals(prefect.leases, SlotSettings(), clock=clock)
    counts = []
    for seconds in (0, 0, THIRD - 1, 1):
        clock.advance(seconds)
        counts.append((await renewals.renew(runs)).count)
    assert counts == [1, 0, 0, 1]


async def test_a_lost_lease_is_missed_by_every_pass_until_its_run_has_another(
    prefect: PrefectApi, start: StartRun, prefects_own: Redis
) -> None:
    clock, runs = StillClock(), [await start(new_user()) for _ in range(6)]
    renewals = Renewals(prefect.leases, SlotSettings(), clock=clock)
    await renewals.renew(runs)
    await forget_lease(prefects_own, runs[0].lease_id)
    clock.advance(THIRD / 3)
    for _ in range(2):
        assert (await renewals.renew(runs)).lost == [runs[0]]


async def test_a_lease_that_was_lost_alone_is_missed_when_it_is_due(
    keeper: Keeper, start: StartRun, clock: SettableClock, prefects_own: Redis
) -> None:
    run = await start(new_user())
    await keeper.sweep()
    await forget_lease(prefects_own, run.lease_id)
    clock.advance(THIRD)
    report = await keeper.sweep()
    assert (report.renewed, report.lost, report.reclaimed) == (0, 1, 1)


@pytest.mark.parametrize("found", [None, "1700000000.5"])
async def test_what_a_redis_lost_that_went_back_in_time_is_missed_at_once(
    keeper: Keeper, start: StartRun, redis: Redis, prefects_own: Redis, found: str | None
) -> None:
    run = await start(new_user())
    await keeper.sweep()
    await forget_lease(prefects_own, run.lease_id)
    if found is None:
        await redis.delete(names.KEEPER_SWEPT_KEY)
    else:
        await redis.set(names.KEEPER_SWEPT_KEY, found)
    assert (await keeper.sweep()).lost == 1


async def test_after_a_failed_pass_every_lease_is_renewed(
    start: StartRun, orchestrator: Orchestrator, redis: Redis, slots: SlotSettings, prefects_own: Redis
) -> None:
    run = await start(new_user())
    transport = FickleTransport()
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=transport, timeout=30) as http:
        prefect = PrefectApi(PrefectHttp(idle=http, fresh=http, one_writer=True))
        keeper = Keeper(prefect, redis, slots, hints=no_hints)
        assert await keeper.lead()
        assert await keeper.sweep_or_log()
        renewed = await end_of_lease(prefects_own, run)
        transport.away = True
        assert not await keeper.sweep_or_log()
        transport.away = False
        await keeper.sweep()
    assert await end_of_lease(prefects_own, run) > renewed


@pytest.mark.parametrize(("run_lease", "gate", "pause"), [(180, 45, 60), (60, 45, 7.5), (100, 59, 20.5)])
async def test_no_lease_can_end_while_the_gate_stays_open(
    prefect: PrefectApi, clock: SettableClock, run_lease: int, gate: float, pause: float
) -> None:
    renewals = Renewals(prefect.leases, SlotSettings(run_lease=run_lease, gate=gate), clock=clock)
    assert renewals.pause.total_seconds() == pause


@pytest.mark.parametrize("seconds", [-300, 300])
async def test_a_clock_that_was_set_makes_every_lease_doubtful(
    prefect: PrefectApi, start: StartRun, clock: SettableClock, seconds: float
) -> None:
    runs = [await start(new_user()) for _ in range(2)]
    renewals = Renewals(prefect.leases, SlotSettings(), clock=clock)
    await renewals.renew(runs)
    clock.advance(seconds)
    assert (await renewals.renew(runs)).count == 2
    assert (await renewals.renew(runs)).count == 0


def test_a_gate_that_might_be_open_when_a_lease_is_over_is_refused() -> None:
    for lease in ("claim_lease", "run_lease"):
        with pytest.raises(ValidationError, match=f"less than TABARIO_SLOTS_{lease.upper()}"):
            SlotSettings.model_validate({"claim_lease": 200, "run_lease": 200, "gate": 100, lease: 100})
