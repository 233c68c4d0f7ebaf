"""One leads, keeps the lead while it works, and gives it up when it stops."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import PrefectApi
from tabario.settings import SlotSettings
from tabario.slots.keeper import Keeper
from tabario.slots.leader import Leader, NotLeading
from tests.integration.slots.conftest import no_hints
from tests.support.waiting import eventually


async def test_who_steps_down_leads_no_more_and_another_may_at_once(redis: Redis) -> None:
    leader, other = Leader(redis), Leader(redis)
    assert await leader.hold()
    assert not await other.hold()
    await leader.step_down()
    assert not leader.is_leading
    assert await other.hold()
    await leader.step_down()  # has nothing to give up
    await other.confirm()
    with pytest.raises(NotLeading, match="keeping the slots"):
        await leader.confirm()


async def test_who_finds_the_lock_gone_leads_no_more(redis: Redis) -> None:
    leader = Leader(redis)
    assert await leader.hold()
    await redis.delete(names.KEEPER_LOCK_KEY)
    with pytest.raises(NotLeading):
        await leader.confirm()
    assert not leader.is_leading


async def test_a_keeper_that_is_cancelled_gives_the_lead_up(
    prefect: PrefectApi, redis: Redis, slots: SlotSettings
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(Keeper(prefect, redis, slots, hints=no_hints).run)

        async def led() -> bool:
            return bool(await redis.exists(names.KEEPER_LOCK_KEY))

        await eventually(led, within=10, what="the keeper leads")
        group.cancel_scope.cancel()
    assert await Leader(redis).hold()


async def test_a_keeper_at_work_never_lets_its_lead_run_out(
    prefect: PrefectApi, redis: Redis, slots: SlotSettings
) -> None:
    keeper, left = Keeper(prefect, redis, slots, hints=no_hints), list[int]()
    keeper._leader.seconds = 1.5

    async def was_renewed_three_times() -> bool:
        left.append(await redis.pttl(names.KEEPER_LOCK_KEY))
        return sum(after > before for before, after in pairwise(left)) > 3

    async with anyio.create_task_group() as group:
        group.start_soon(keeper.run)
        await eventually(was_renewed_three_times, within=20, what="the lock was renewed three times")
        group.cancel_scope.cancel()
    held = left[next(number for number, pttl in enumerate(left) if pttl > 0) :]
    assert min(held) > 0
