"""An ended run is settled once, and whoever comes in the middle of that leaves it alone."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import PrefectApi, Run, RunState
from tabario.settings import SlotSettings
from tabario.slots.claims import Claims
from tabario.slots.clock import utc_now
from tabario.slots.endings import EndedHook, Endings
from tabario.slots.heartbeat import beating
from tabario.slots.liveness import Liveness
from tabario.slots.release import Releaser
from tests.integration.slots.conftest import Ears, StartRun
from tests.support.orchestrator import Orchestrator, StillClock, new_user

SettleWith = Callable[[EndedHook], Endings]


@pytest.fixture
def claims(redis: Redis) -> Claims:
    return Claims(redis, clock=utc_now)


@pytest.fixture
def settle_with(prefect: PrefectApi, redis: Redis, claims: Claims) -> SettleWith:
    """Makes endings with one hook."""
    releaser = Releaser(redis, prefect.leases, claims)
    return lambda hook: Endings(redis, releaser, [hook], bookkeeping=anyio.Lock())


async def test_what_is_settled_is_known_and_nothing_is_done_again(
    settle_with: SettleWith, start: StartRun, orchestrator: Orchestrator, claims: Claims
) -> None:
    ears, user_id = Ears(), new_user()
    endings, run, other = settle_with(ears), await start(user_id), await start(new_user())
    assert not await endings.is_settled(run)
    assert await endings.settle(run)
    assert await endings.settle(run)
    assert await endings.is_settled(run)
    assert not await endings.is_settled(other)
    assert ears.heard == [run.flow_run_id]
    assert await orchestrator.active_slots(user_id) == 0
    assert list(await claims.all_standing()) == [other.limit]


async def test_one_begun_again_by_hand_has_a_minute_for_its_first_beat(
    settle_with: SettleWith, start: StartRun, redis: Redis
) -> None:
    run, clock = await start(new_user()), StillClock()
    async with beating(redis, run.flow_run_id):
        pass
    assert await settle_with(Ears()).settle(run)
    again = run.model_copy(update={"state": RunState.RUNNING, "state_id": uuid4()})
    liveness = Liveness(redis, SlotSettings(), clock=clock)
    assert await liveness.look([again]) == []
    clock.advance(60)
    assert await liveness.look([again]) == []


async def test_one_that_is_being_settled_is_left_alone_and_others_are_not(
    settle_with: SettleWith, start: StartRun, redis: Redis
) -> None:
    run, other, ears, seconds = await start(new_user()), await start(new_user()), Ears(), list[int]()
    meanwhile: list[bool] = []

    async def another_comes(settled: Run) -> None:
        seconds.append(await redis.ttl(names.ending_key(settled.flow_run_id)))
        meanwhile.extend([await settle_with(ears).settle(settled), await settle_with(ears).settle(other)])

    assert await settle_with(another_comes).settle(run)
    assert meanwhile == [False, True]
    assert ears.heard == [other.flow_run_id]
    assert 0 < seconds[0] <= 60  # one who dies in the middle is replaced


async def test_a_run_is_settled_by_the_next_when_its_hook_failed(settle_with: SettleWith, start: StartRun) -> None:
    run, ears = await start(new_user()), Ears()

    async def stumble(run: Run) -> None:
        raise RuntimeError(run.name)

    with pytest.raises(RuntimeError):
        await settle_with(stumble).settle(run)
    assert await settle_with(ears).settle(run)
    assert ears.heard == [run.flow_run_id]
