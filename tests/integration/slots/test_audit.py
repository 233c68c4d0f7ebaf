"""A closer look at one limit: what it takes for wrong, and what happens beside it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from uuid import UUID

import anyio
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import PrefectApi
from tabario.clients.prefect.leases import Limit
from tabario.errors import RetryLater, SlotsFull
from tabario.settings import SlotSettings
from tabario.slots.admission import Admission
from tabario.slots.audit import Audit, Mended
from tabario.slots.claims import Claimant, Claims
from tabario.slots.clock import utc_now
from tabario.slots.leader import Leader
from tabario.tiers import Tier
from tests.integration.slots.conftest import StartRun, end_of_lease, forget_lease
from tests.support.orchestrator import Orchestrator, StillClock, new_user

NOTHING: frozenset[UUID] = frozenset()

Act = Callable[[], Awaitable[object]]


class ObservedClaims(Claims):
    """Lets a test act at the moment at which a limit is closed."""

    at_closing: Act | None = None

    @asynccontextmanager
    async def closed(self, limit: str) -> AsyncIterator[None]:
        async with super().closed(limit):
            if self.at_closing:
                await self.at_closing()
            yield


@pytest.fixture
def claims(redis: Redis) -> ObservedClaims:
    return ObservedClaims(redis, clock=utc_now)


@pytest.fixture
async def audit(prefect: PrefectApi, redis: Redis, slots: SlotSettings, claims: ObservedClaims) -> Audit:
    leader = Leader(redis)
    assert await leader.hold()
    claimant = Claimant(claims, prefect.leases)
    return Audit(prefect, claims, claimant, leader, slots, bookkeeping=anyio.Lock(), clock=utc_now)


@pytest.fixture
def around_count(prefect: PrefectApi, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Acts right before or after a count is read: the first time, or in a repair the second."""

    def arrange(time: int = 1, *, before: Act | None = None, after: Act | None = None) -> None:
        read, times = prefect.leases.read, count(1)

        async def watched(name: str) -> Limit | None:
            is_due = next(times) == time
            if before and is_due:
                await before()
            found = await read(name)
            if after and is_due:
                await after()
            return found

        monkeypatch.setattr(prefect.leases, "read", watched)

    return arrange


async def test_counts_are_compared_every_thirty_seconds(
    prefect: PrefectApi, redis: Redis, slots: SlotSettings, claims: ObservedClaims, start: StartRun
) -> None:
    clock, run = StillClock(), await start(new_user())
    claimant, lock = Claimant(claims, prefect.leases), anyio.Lock()
    audit = Audit(prefect, claims, claimant, Leader(redis), slots, bookkeeping=lock, clock=clock)
    held = {run.limit: frozenset({run.lease_id})}
    assert await audit.suspects(held) == set()
    await prefect.leases.lower_count(run.limit, 1)
    clock.advance(29.9)
    assert await audit.suspects(held) == set()
    clock.advance(0.1)
    assert await audit.suspects(held) == {run.limit}


async def test_a_sound_limit_is_not_touched(
    audit: Audit, start: StartRun, orchestrator: Orchestrator, claims: ObservedClaims
) -> None:
    run, closings = await start(new_user()), []

    async def note() -> None:
        closings.append(run.limit)

    claims.at_closing = note
    assert await audit.mend(run.limit, NOTHING) == Mended()
    assert closings == []
    assert await orchestrator.active_slots(run.job.user_id) == 1


async def test_a_limit_that_does_not_exist_needs_no_repair(audit: Audit) -> None:
    assert await audit.mend(names.slot_limit(new_user()), NOTHING) == Mended()


async def test_a_limit_that_vanishes_before_its_repair_needs_none(
    audit: Audit, start: StartRun, orchestrator: Orchestrator, claims: ObservedClaims
) -> None:
    run = await start(new_user())
    await orchestrator.prefect.leases.raise_count(run.limit, 1)
    await orchestrator.prefect.leases.resize(run.limit, 3)
    await orchestrator.prefect.leases.raise_count(run.limit, 1)

    async def remove() -> None:
        (await orchestrator.http.delete(f"/v2/concurrency_limits/{run.limit}")).raise_for_status()

    claims.at_closing = remove
    assert await audit.mend(run.limit, NOTHING) == Mended()


async def test_nobody_claims_a_slot_while_the_count_is_mended(
    audit: Audit, start: StartRun, orchestrator: Orchestrator, claims: ObservedClaims, admission: Admission
) -> None:
    user = new_user()
    run, refused = await start(user, Tier.PREMIUM), []

    async def claim() -> None:
        standing = await claims.standing(run.limit)
        with pytest.raises(
            RetryLater, match=r"^Your slots are being checked; try again in a few seconds\.$"
        ) as refusal:
            await admission.admit(user, Tier.PREMIUM)
        assert await claims.standing(run.limit) == standing
        refused.append(refusal.value.retry_after)

    await orchestrator.prefect.leases.lower_count(run.limit, 1)
    claims.at_closing = claim
    assert await audit.mend(run.limit, NOTHING) == Mended(counted=1)
    assert refused == [2]
    await admission.admit(user, Tier.PREMIUM)
    assert await orchestrator.active_slots(user) == 2


async def test_a_look_renews_the_leases_that_it_finds(
    audit: Audit, start: StartRun, prefects_own: Redis, slots: SlotSettings
) -> None:
    run = await start(new_user())
    await audit.mend(run.limit, NOTHING)
    end = await end_of_lease(prefects_own, run)
    assert end == pytest.approx(time.time() + slots.run_lease, abs=slots.run_lease / 4)


async def test_the_claim_of_a_lost_lease_explains_no_slot_any_more(
    audit: Audit, start: StartRun, orchestrator: Orchestrator, prefects_own: Redis, admission: Admission
) -> None:
    user = new_user()
    run = await start(user)
    await forget_lease(prefects_own, run.lease_id)

    assert await audit.mend(run.limit, NOTHING) == Mended(freed=1, reclaimed=1)
    assert await orchestrator.active_slots(user) == 1
    with pytest.raises(SlotsFull):
        await admission.admit(user, Tier.STANDARD)


async def test_a_slot_claimed_before_the_count_is_read_explains_it(
    audit: Audit, start: StartRun, orchestrator: Orchestrator, admission: Admission, around_count: Callable[..., None]
) -> None:
    user = new_user()
    run = await start(user, Tier.PREMIUM)

    async def claim() -> None:
        await admission.admit(user, Tier.PREMIUM)

    around_count(before=claim)
    assert await audit.mend(run.limit, NOTHING) == Mended()
    assert await orchestrator.active_slots(user) == 2


@pytest.mark.parametrize("reading", [1, 2])
async def test_a_slot_given_back_after_the_count_was_read_explains_it(  # noqa: PLR0913, PLR0917 - fixtures
    audit: Audit,
    start: StartRun,
    orchestrator: Orchestrator,
    admission: Admission,
    around_count: Callable[..., None],
    reading: int,
) -> None:
    user = new_user()
    run = await start(user, Tier.PREMIUM)
    lease = await admission.admit(user, Tier.PREMIUM)
    leaked = reading - 1  # so that there is a second reading
    await orchestrator.prefect.leases.raise_count(run.limit, leaked)

    async def give_back() -> None:
        await admission.give_back(lease)

    around_count(reading, after=give_back)
    assert await audit.mend(run.limit, NOTHING) == Mended(freed=leaked)
    assert await orchestrator.active_slots(user) == 1


async def test_a_claim_that_is_kept_while_the_count_is_mended_explains_its_slot(  # noqa: PLR0913, PLR0917 - fixtures
    audit: Audit,
    start: StartRun,
    orchestrator: Orchestrator,
    admission: Admission,
    claims: ObservedClaims,
    around_count: Callable[..., None],
) -> None:
    user = new_user()
    run = await start(user, Tier.PREMIUM)
    lease = await admission.admit(user, Tier.PREMIUM)
    await claims.strike(run.limit, str(lease.id))  # its time is over
    await orchestrator.prefect.leases.raise_count(run.limit, 1)

    async def keep() -> None:
        assert await admission.keep(lease)

    around_count(2, before=keep)
    assert await audit.mend(run.limit, NOTHING) == Mended(freed=1)
    assert await orchestrator.active_slots(user) == 2


async def test_a_run_whose_slot_a_claim_has_taken_is_left_alone_however_many_others_run(
    audit: Audit, start: StartRun, orchestrator: Orchestrator, admission: Admission
) -> None:
    user = new_user()
    run, _, _ = await start(user), await start(new_user()), await start(new_user())
    await orchestrator.prefect.leases.release(run.lease_id)
    await admission.admit(user, Tier.STANDARD)
    assert await audit.mend(run.limit, NOTHING) == Mended()
    assert await orchestrator.state_of(run) == "Scheduled"


async def test_a_run_that_ended_while_it_was_looked_at_is_not_counted_again(
    audit: Audit, start: StartRun, orchestrator: Orchestrator, around_count: Callable[..., None]
) -> None:
    user = new_user()
    run = await start(user)

    async def end() -> None:
        await orchestrator.set_state(run, "COMPLETED")

    await orchestrator.prefect.leases.lower_count(run.limit, 1)
    around_count(after=end)
    assert await audit.mend(run.limit, NOTHING) == Mended()
    assert await orchestrator.active_slots(user) == 0


async def test_a_run_that_nobody_counts_is_counted_again(
    audit: Audit, start: StartRun, orchestrator: Orchestrator
) -> None:
    user = new_user()
    run = await start(user)
    await orchestrator.prefect.leases.lower_count(run.limit, 1)
    assert await audit.mend(run.limit, NOTHING) == Mended(counted=1)
    assert await orchestrator.active_slots(user) == 1
