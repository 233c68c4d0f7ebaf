from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import Lease, PrefectApi, open_prefect
from tabario.clients.prefect.leases import Limit
from tabario.errors import RetryLater, SlotsFull
from tabario.settings import PrefectSettings, SlotSettings
from tabario.slots.admission import Admission
from tabario.slots.claims import Claims
from tabario.slots.clock import utc_now
from tabario.slots.release import Releaser
from tabario.tiers import Tier
from tests.support.orchestrator import Orchestrator, new_user
from tests.support.servers import RedisServer


async def test_second_job_of_a_standard_user_is_refused_until_the_first_gives_back(
    admission: Admission, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    lease = await admission.admit(user_id, Tier.STANDARD)
    with pytest.raises(SlotsFull) as refusal:
        await admission.admit(user_id, Tier.STANDARD)
    assert refusal.value.limit == 1
    await admission.give_back(lease)
    assert await orchestrator.active_slots(user_id) == 0
    await admission.admit(user_id, Tier.STANDARD)


async def test_fourth_job_of_a_premium_user_is_refused(admission: Admission) -> None:
    user_id = new_user()
    for _ in range(3):
        await admission.admit(user_id, Tier.PREMIUM)
    with pytest.raises(SlotsFull) as refusal:
        await admission.admit(user_id, Tier.PREMIUM)
    assert refusal.value.limit == 3


async def test_fifty_claims_at_once_through_two_replicas_get_exactly_three(
    prefect_settings: PrefectSettings, admission: Admission, redis: Redis, slots: SlotSettings
) -> None:
    user_id, outcomes = new_user(), list[str]()
    patient = prefect_settings.model_copy(update={"one_writer": True})
    async with open_prefect(patient) as other:
        replicas = [admission, Admission(other.leases, redis, slots)]

        async def start(replica: Admission) -> None:
            while True:
                try:
                    await replica.admit(user_id, Tier.PREMIUM)
                except SlotsFull:
                    return outcomes.append("full")
                except RetryLater:  # SQLite with two writers is often locked: what a caller is told, it does
                    continue
                return outcomes.append("in")

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(start, replicas[number % 2])
    assert sorted(outcomes) == ["full"] * 47 + ["in"] * 3


async def test_the_refusal_of_one_user_is_not_told_to_another(admission: Admission) -> None:
    full, other = new_user(), new_user()
    await admission.admit(full, Tier.STANDARD)
    let_in = list[str]()

    async def ask(user_id: str) -> None:
        with suppress(SlotsFull):
            let_in.append((await admission.admit(user_id, Tier.STANDARD)).limit)

    async with anyio.create_task_group() as group:
        for user_id in (full, other):
            group.start_soon(ask, user_id)
    assert let_in == [names.slot_limit(other)]


async def test_a_full_limit_that_has_just_vanished_is_told_by_the_tier(
    admission: Admission, prefect: PrefectApi, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id, read = new_user(), prefect.leases.read
    await admission.admit(user_id, Tier.STANDARD)

    async def read_too_late(name: str) -> Limit | None:
        await orchestrator.http.delete(f"/v2/concurrency_limits/{name}")
        return await read(name)

    monkeypatch.setattr(prefect.leases, "read", read_too_late)
    with pytest.raises(SlotsFull) as refusal:
        await admission.admit(user_id, Tier.STANDARD)
    assert refusal.value.limit == 1


async def test_an_upgrade_acts_on_the_next_request(admission: Admission) -> None:
    user_id = new_user()
    await admission.admit(user_id, Tier.STANDARD)
    await admission.admit(user_id, Tier.PREMIUM)


async def test_a_downgrade_lets_running_jobs_be_and_refuses_more(
    admission: Admission, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    for _ in range(2):
        await admission.admit(user_id, Tier.PREMIUM)
    with pytest.raises(SlotsFull) as refusal:
        await admission.admit(user_id, Tier.STANDARD)
    assert refusal.value.limit == 1
    assert await orchestrator.active_slots(user_id) == 2


async def test_a_downgrade_without_running_jobs_lets_one_in(admission: Admission) -> None:
    user_id = new_user()
    await admission.give_back(await admission.admit(user_id, Tier.PREMIUM))
    await admission.admit(user_id, Tier.STANDARD)
    with pytest.raises(SlotsFull) as refusal:
        await admission.admit(user_id, Tier.STANDARD)
    assert refusal.value.limit == 1


async def test_an_upgrade_that_brings_no_free_slot_tells_the_new_tiers_limit(
    admission: Admission, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    for _ in range(3):
        await admission.admit(user_id, Tier.PREMIUM)
    await orchestrator.prefect.leases.resize(names.slot_limit(user_id), 1)
    with pytest.raises(SlotsFull) as refusal:
        await admission.admit(user_id, Tier.PREMIUM)
    assert (refusal.value.limit, await orchestrator.active_slots(user_id)) == (3, 3)
    assert (refusal.value.retry_after or 0) >= 5


async def test_a_claim_is_kept_while_its_lease_stands(
    admission: Admission, redis: Redis, redis_server: RedisServer, slots: SlotSettings
) -> None:
    lease, claims = await admission.admit(new_user(), Tier.STANDARD), Claims(redis, clock=utc_now)
    await claims.strike(lease.limit, str(lease.id))
    assert await admission.keep(lease)
    assert await claims.standing(lease.limit) == {str(lease.id)}
    async with Redis.from_url(redis_server.url) as prefects_own:
        end = await prefects_own.zscore("prefect:concurrency:expirations", str(lease.id))
    assert float(end or 0) == pytest.approx(utc_now().timestamp() + slots.claim_lease, abs=20)
    await admission.give_back(lease)
    assert not await admission.keep(lease)


async def test_a_guessed_tier_changes_no_limit(admission: Admission, prefect: PrefectApi) -> None:
    user_id = new_user()
    await admission.admit(user_id, Tier.STANDARD)
    with pytest.raises(SlotsFull):
        await admission.admit(user_id, Tier.PREMIUM, resize=False)
    limit = await prefect.leases.read(names.slot_limit(user_id))
    assert limit
    assert limit.limit == 1


async def test_a_tier_guessed_too_low_takes_no_slot_away(admission: Admission, prefect: PrefectApi) -> None:
    user_id = new_user()
    await admission.admit(user_id, Tier.PREMIUM)
    await admission.admit(user_id, Tier.STANDARD, resize=False)
    limit = await prefect.leases.read(names.slot_limit(user_id))
    assert limit
    assert (limit.limit, limit.active_slots) == (3, 2)


async def test_a_missing_limit_is_made_and_counts_from_the_first_claim(
    admission: Admission, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    assert await orchestrator.prefect.leases.read(names.slot_limit(user_id)) is None
    await admission.admit(user_id, Tier.STANDARD)
    assert await orchestrator.active_slots(user_id) == 1


async def test_twenty_releasers_at_once_free_exactly_one_slot(
    admission: Admission, orchestrator: Orchestrator, redis: Redis
) -> None:
    user_id = new_user()
    lease, *_ = [await admission.admit(user_id, Tier.PREMIUM) for _ in range(3)]
    claims = Claims(redis, clock=utc_now)
    did: list[bool] = []

    async def release() -> None:
        did.append(await Releaser(redis, orchestrator.prefect.leases, claims).release(lease))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(release)
    assert sum(did) == 1
    assert await orchestrator.active_slots(user_id) == 2


async def test_releasing_a_lease_that_ran_out_frees_nothing(
    admission: Admission, orchestrator: Orchestrator, redis: Redis
) -> None:
    user_id, claims = new_user(), Claims(redis, clock=utc_now)
    kept = await admission.admit(user_id, Tier.STANDARD)
    gone = Lease(uuid4(), names.slot_limit(user_id))
    assert await Releaser(redis, orchestrator.prefect.leases, claims).release(gone)
    assert await orchestrator.active_slots(user_id) == 1
    assert await claims.all_standing() == {kept.limit: {str(kept.id)}}


async def test_nobody_is_let_in_while_no_keeper_works(admission: Admission, redis: Redis) -> None:
    await redis.delete(names.KEEPER_FRESH_KEY)
    with pytest.raises(RetryLater):
        await admission.admit(new_user(), Tier.STANDARD)


async def test_nobody_is_let_in_while_the_users_count_is_repaired(admission: Admission, redis: Redis) -> None:
    user_id = new_user()
    claims = Claims(redis, clock=utc_now)
    async with claims.closed(names.slot_limit(user_id)):
        with pytest.raises(RetryLater):
            await admission.admit(user_id, Tier.STANDARD)
    await admission.admit(user_id, Tier.STANDARD)


async def test_a_lost_redis_is_a_reason_to_try_later(prefect: PrefectApi, slots: SlotSettings) -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0", decode_responses=True) as nobody:
        with pytest.raises(RetryLater):
            await Admission(prefect.leases, nobody, slots).admit(new_user(), Tier.STANDARD)
