"""The gate is open for a time that begins with a pass, not with its end."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.errors import RetryLater
from tabario.slots.gate import Gate


async def test_it_is_open_for_what_is_left_since_the_pass_began(redis: Redis) -> None:
    gate = Gate(redis, seconds=45)
    await gate.open(since=15)
    await gate.require_open()
    assert 25_000 < await redis.pttl(names.KEEPER_FRESH_KEY) <= 30_000


@pytest.mark.parametrize("since", [45, 46])
async def test_a_pass_that_took_too_long_does_not_open_it(redis: Redis, since: float) -> None:
    gate = Gate(redis, seconds=45)
    await gate.open(since=since)
    assert not await gate.is_open()
    with pytest.raises(RetryLater, match=r"^Slots are being checked after an outage; try again") as refusal:
        await gate.require_open()
    assert refusal.value.retry_after == 10
