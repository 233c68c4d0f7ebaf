from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.clients.prefect import OutcomeUnknown, PrefectApi, Run
from tabario.clients.prefect.http import PrefectHttp
from tabario.clients.prefect.leases import Leases
from tabario.errors import RetryLater, SlotsFull
from tabario.settings import SlotSettings
from tabario.slots.admission import Admission
from tabario.slots.heartbeat import beating
from tabario.slots.keeper import Keeper, PassReport
from tabario.tiers import Tier
from tests.integration.slots.conftest import Ears, StartRun, forget_lease, keep_for, no_hints
from tests.support.faulty_redis import faulty_redis_running
from tests.support.orchestrator import FickleTransport, Orchestrator, SettableClock, new_user
from tests.support.waiting import eventually


class DeafTransport(httpx.AsyncHTTPTransport):
    """Sends each request to the real server and loses the reply."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        await response.aread()
        await response.aclose()
        raise httpx.ReadTimeout("lost", request=request)


async def test_a_run_whose_lease_was_forgotten_keeps_its_slot(
    keeper: Keeper,
    start: StartRun,
    orchestrator: Orchestrator,
    admission: Admission,
    prefects_own: Redis,
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await forget_lease(prefects_own, run.lease_id)
    report = await keeper.sweep()
    assert (report.lost, report.reclaimed, report.cancelled) == (1, 1, 0)
    assert await orchestrator.active_slots(user_id) == 1
    assert await orchestrator.state_of(run) == "Scheduled"
    with pytest.raises(SlotsFull):
        await admission.admit(user_id, Tier.STANDARD)
    assert (await keeper.sweep()).lost == 0
    await orchestrator.set_state(run, "COMPLETED")
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 0


async def test_a_run_whose_lease_ran_out_claims_a_new_one(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await orchestrator.prefect.leases.release(run.lease_id)
    assert (await keeper.sweep()).reclaimed == 1
    assert await orchestrator.active_slots(user_id) == 1


async def test_a_run_is_cancelled_only_when_its_slot_was_sold_again(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    first = await start(user_id)
    await orchestrator.prefect.leases.release(first.lease_id)
    second = await start(user_id)
    report = await keeper.sweep()
    assert report.cancelled == 1
    assert await orchestrator.state_of(first) == "Cancelled"
    assert await orchestrator.state_of(second) == "Scheduled"
    assert await orchestrator.active_slots(user_id) == 1


async def test_a_slot_that_nobody_holds_is_freed(keeper: Keeper, start: StartRun, orchestrator: Orchestrator) -> None:
    user_id = new_user()
    await start(user_id, Tier.PREMIUM)
    await orchestrator.prefect.leases.raise_count(names.slot_limit(user_id), 2)
    assert (await keeper.sweep()).freed == 2
    assert await orchestrator.active_slots(user_id) == 1


async def test_a_slot_that_was_freed_twice_is_counted_again(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    await start(user_id)
    await orchestrator.prefect.leases.lower_count(names.slot_limit(user_id), 1)
    assert (await keeper.sweep()).counted == 1
    assert await orchestrator.active_slots(user_id) == 1


async def test_only_a_count_that_no_run_and_no_claim_explains_is_looked_at_more_closely(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator
) -> None:
    run = await start(new_user())
    assert run.limit not in await keeper._audit.suspects({})  # claimed since this pass began
    await orchestrator.prefect.leases.lower_count(run.limit, 1)
    keeper._audit._audited = None
    assert run.limit in await keeper._audit.suspects({run.limit: frozenset({run.lease_id})})


async def test_a_claim_whose_run_does_not_exist_yet_is_left_alone(
    keeper: Keeper, admission: Admission, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    await admission.admit(user_id, Tier.STANDARD)
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 1


@pytest.fixture
async def deaf_admission(
    admission: Admission, redis: Redis, slots: SlotSettings, orchestrator: Orchestrator
) -> AsyncIterator[Admission]:
    """A second replica that never gets a reply to a claim or a release; `admission` has opened the gate."""
    del admission
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=DeafTransport()) as deaf:
        http = PrefectHttp(idle=orchestrator.http, fresh=deaf, one_writer=True)
        yield Admission(Leases(http), redis, slots)


async def test_claims_whose_replies_were_lost_are_freed_when_their_leases_must_be_over(
    keeper: Keeper, deaf_admission: Admission, orchestrator: Orchestrator, clock: SettableClock
) -> None:
    user_id = new_user()
    await orchestrator.prefect.leases.create(names.slot_limit(user_id), 3)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await deaf_admission.admit(user_id, Tier.PREMIUM)
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 2
    clock.advance(81)
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 0


async def test_a_release_whose_reply_was_lost_is_not_sent_again(
    keeper: Keeper, deaf_admission: Admission, orchestrator: Orchestrator, admission: Admission
) -> None:
    user_id = new_user()
    lease, *_ = [await admission.admit(user_id, Tier.PREMIUM) for _ in range(3)]
    await deaf_admission.give_back(lease)
    await admission.give_back(lease)
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 2


async def test_a_limit_that_was_switched_off_counts_again(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, admission: Admission
) -> None:
    user_id = new_user()
    await start(user_id)
    await orchestrator.http.patch(f"/v2/concurrency_limits/{names.slot_limit(user_id)}", json={"active": False})
    await start(user_id)
    await keeper.sweep()
    with pytest.raises(SlotsFull):
        await admission.admit(user_id, Tier.STANDARD)


async def crash(orchestrator: Orchestrator, run: Run) -> None:
    await orchestrator.set_state(run, "PENDING")
    await orchestrator.set_state(run, "RUNNING")
    await orchestrator.set_state(run, "CRASHED")


async def test_a_crashed_run_is_resumed_twice_and_then_gives_its_slot_back(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, ears: Ears, clock: SettableClock
) -> None:
    user_id = new_user()
    run = await start(user_id)
    for _ in range(2):
        await crash(orchestrator, run)
        await keeper.sweep()
        assert await orchestrator.state_of(run) == "Crashed"  # the worker may report the crash once more
        clock.advance(6)
        await keeper.sweep()
        assert await orchestrator.state_of(run) == "AwaitingRetry"
        assert await orchestrator.active_slots(user_id) == 1
        assert run.flow_run_id not in ears.heard
        clock.reset()
    await crash(orchestrator, run)
    await keeper.sweep()
    assert await orchestrator.state_of(run) == "Crashed"
    assert await orchestrator.active_slots(user_id) == 0
    assert ears.heard.count(run.flow_run_id) == 1


async def test_a_run_that_does_not_start_is_resumed(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, clock: SettableClock
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "PENDING")
    await keeper.sweep()
    assert await keep_for(50, keeper, clock) == 0
    assert await keep_for(10, keeper, clock) == 1
    assert await orchestrator.state_of(run) == "Crashed"
    await keeper.sweep()
    assert await orchestrator.state_of(run) == "AwaitingRetry"


async def test_a_running_process_that_falls_silent_counts_as_crashed(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, clock: SettableClock, redis: Redis
) -> None:
    silent, alive = await start(new_user()), await start(new_user())
    for run in (silent, alive):
        await orchestrator.set_state(run, "RUNNING")
        async with beating(redis, run.flow_run_id):
            await keeper.sweep()
    assert await keep_for(20, keeper, clock) == 0
    async with beating(redis, alive.flow_run_id):
        assert await keep_for(10, keeper, clock) == 1
    state = (await orchestrator.http.get(f"/flow_runs/{silent.flow_run_id}")).json()["state"]
    assert (state["name"], state["message"]) == ("Crashed", "Its process gave no sign of life.")
    assert await orchestrator.state_of(alive) == "Running"


async def test_silence_counts_on_while_prefect_is_away(
    start: StartRun, orchestrator: Orchestrator, slots: SlotSettings, clock: SettableClock, redis: Redis
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "RUNNING")
    transport = FickleTransport()
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=transport, timeout=30) as http:
        prefect = PrefectApi(PrefectHttp(idle=http, fresh=http, one_writer=True))
        keeper = Keeper(prefect, redis, slots, hints=no_hints, clock=clock)
        assert await keeper.lead()
        async with beating(redis, run.flow_run_id):
            assert await keeper.sweep_or_log()
        transport.away = True
        assert not await keeper.sweep_or_log()
        transport.away = False
        clock.advance(31)
        assert await keeper.sweep_or_log()
        assert await orchestrator.state_of(run) == "Running"
        assert await keep_for(10, keeper, clock) == 1
    assert await orchestrator.state_of(run) == "Crashed"


@pytest.mark.parametrize(("error", "end"), [(RetryLater("Prefect"), "Crashed"), (RedisError(), "Running")])
async def test_a_pass_that_fails_later_on_has_heard_who_lives_unless_redis_is_away(  # noqa: PLR0913 - fixtures and cases
    start: StartRun,
    orchestrator: Orchestrator,
    slots: SlotSettings,
    clock: SettableClock,
    redis: Redis,
    *,
    error: Exception,
    end: str,
) -> None:
    async def stumble(_: PassReport, __: Sequence[Run]) -> None:
        raise error

    run = await start(new_user())
    await orchestrator.set_state(run, "RUNNING")
    keeper = Keeper(orchestrator.prefect, redis, slots, hints=no_hints, on_pass=stumble, clock=clock)
    assert await keeper.lead()
    async with beating(redis, run.flow_run_id):
        assert not await keeper.sweep_or_log()
    for _ in range(3):
        clock.advance(10)
        assert not await keeper.sweep_or_log()
    assert await orchestrator.state_of(run) == end


async def test_a_bid_that_finds_no_redis_ends_the_watch(
    tmp_path: Path, start: StartRun, orchestrator: Orchestrator, slots: SlotSettings, clock: SettableClock
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "RUNNING")
    with faulty_redis_running(tmp_path) as server:
        async with Redis.from_url(server.url, decode_responses=True, retry=None) as redis:
            keeper = Keeper(orchestrator.prefect, redis, slots, hints=no_hints, clock=clock)
            assert await keeper.lead()
            async with beating(redis, run.flow_run_id):
                await keeper.sweep()
            server.kill()
            with pytest.raises(RedisError):
                await keeper.lead()
            server.start()
            assert await keeper.lead()
            clock.advance(31)
            assert (await keeper.sweep()).declared_dead == 0
            assert await keep_for(10, keeper, clock) == 0
            assert await keep_for(10, keeper, clock) == 1


async def test_silence_counts_on_though_no_keeper_lives_as_long(
    start: StartRun, orchestrator: Orchestrator, slots: SlotSettings, clock: SettableClock, redis: Redis
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "RUNNING")
    async with beating(redis, run.flow_run_id):
        pass
    for _ in range(2):
        assert await orchestrator.state_of(run) == "Running"
        keeper = Keeper(orchestrator.prefect, redis, slots, hints=no_hints, clock=clock)
        assert await keeper.lead()
        await keeper.sweep()
        clock.advance(15)
        await keeper.sweep()
        await redis.delete(names.KEEPER_LOCK_KEY)  # it was killed, and its lead has run out
    assert await orchestrator.state_of(run) == "Crashed"


async def test_a_cancellation_that_no_process_hears_ends_all_the_same(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, clock: SettableClock, redis: Redis
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await orchestrator.set_state(run, "RUNNING")
    async with beating(redis, run.flow_run_id):
        await orchestrator.prefect.cancel_run(run)
    await keeper.sweep()
    assert await keep_for(40, keeper, clock) == 1
    assert await orchestrator.state_of(run) == "Cancelled"
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 0


async def test_a_beat_rises_while_the_block_runs(redis: Redis, start: StartRun) -> None:
    run = await start(new_user())
    key = names.beat_key(run.flow_run_id)
    async with beating(redis, run.flow_run_id, every=0.01):

        async def rose() -> bool:
            return int(await redis.get(key) or 0) > 2

        await eventually(rose, within=5, what="the beat rises")
    assert await redis.ttl(key) > 0
