"""Which claims may hold a slot, and until when: on a clock that stands still, in a real Redis."""

from __future__ import annotations

from contextlib import suppress

import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.slots.claims import KEY_SECONDS, MENDING_SECONDS, REAPER_SECONDS, Claims
from tests.support.orchestrator import StillClock

A, B = "slots:a", "slots:b"


@pytest.fixture
def claims(redis: Redis, clock: StillClock) -> Claims:
    return Claims(redis, clock=clock)


async def test_an_entry_stands_until_its_lease_is_over_and_prefect_has_noticed(
    claims: Claims, clock: StillClock
) -> None:
    await claims.enter(A, "one", seconds=60)
    await claims.enter(A, "two", seconds=90)
    await claims.enter(B, "one", seconds=60)
    clock.advance(60 + REAPER_SECONDS - 0.1)
    assert await claims.all_standing() == {A: {"one", "two"}, B: {"one"}}
    assert await claims.overdue() == set()
    clock.advance(0.2)
    assert await claims.standing(A) == {"two"}
    assert await claims.standing(B) == set()
    assert await claims.overdue() == {A, B}


async def test_striking_takes_off_what_was_named_and_nothing_else(claims: Claims) -> None:
    for limit in (A, B):
        for entry in ("one", "two"):
            await claims.enter(limit, entry, seconds=60)
    await claims.strike(A)
    await claims.strike(A, "one", "three")
    assert await claims.all_standing() == {A: {"two"}, B: {"one", "two"}}
    await claims.strike_seen([])
    await claims.strike_seen([(A, "two"), (B, "one")])
    assert await claims.all_standing() == {B: {"two"}}


async def test_entries_that_ran_out_are_taken_off_where_the_count_was_checked(
    claims: Claims, clock: StillClock
) -> None:
    await claims.enter(A, "old", seconds=1)
    await claims.enter(B, "old", seconds=1)
    clock.advance(100)
    await claims.enter(A, "new", seconds=1)
    await claims.strike_overdue([A])
    assert await claims.overdue() == {B}
    assert await claims.all_standing() == {A: {"new"}}


async def test_a_limit_is_closed_while_it_is_mended_and_no_longer_than_that(claims: Claims, redis: Redis) -> None:
    with suppress(InterruptedError):
        async with claims.closed(A):
            assert await claims.is_closed(A)
            assert not await claims.is_closed(B)
            assert 0 < await redis.ttl(names.mending_key(A)) <= MENDING_SECONDS
            raise InterruptedError
    assert not await claims.is_closed(A)


async def test_the_entries_are_forgotten_when_nobody_claims_for_a_day(claims: Claims, redis: Redis) -> None:
    await claims.enter(A, "one", seconds=60)
    assert 0 < await redis.ttl(names.CLAIMS_KEY) <= KEY_SECONDS
