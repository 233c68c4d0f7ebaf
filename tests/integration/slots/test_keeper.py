from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from uuid import UUID, uuid4

import anyio
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import PrefectApi, Run
from tabario.clients.prefect.events import watch_endings
from tabario.errors import SlotsFull
from tabario.settings import PrefectSettings, SlotSettings
from tabario.slots.admission import Admission
from tabario.slots.claims import Claims
from tabario.slots.clock import utc_now
from tabario.slots.gate import Gate
from tabario.slots.keeper import Keeper, PassReport
from tabario.slots.leader import NotLeading
from tabario.tiers import Tier
from tests.integration.slots.conftest import Ears, StartRun, no_hints
from tests.support.orchestrator import Orchestrator, new_user
from tests.support.waiting import eventually


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_the_slot_of_an_ended_run_is_free_after_a_pass(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, ears: Ears, state: str
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 1
    await orchestrator.set_state(run, state)
    await keeper.sweep()
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 0
    assert ears.heard.count(run.flow_run_id) == 1
    await start(user_id)


async def test_the_slot_of_an_ended_run_is_free_promptly_by_its_event(
    prefect: PrefectApi, redis: Redis, prefect_settings: PrefectSettings, start: StartRun, orchestrator: Orchestrator
) -> None:
    user_id, ears = new_user(), Ears()
    slots = SlotSettings(sweep=600)
    keeper = Keeper(prefect, redis, slots, hints=partial(watch_endings, prefect_settings), on_ended=[ears])
    run = await start(user_id)
    async with anyio.create_task_group() as group:
        group.start_soon(keeper.run)
        with anyio.fail_after(30):
            while run.flow_run_id not in ears.heard:  # the first event may come before the stream is connected
                await orchestrator.set_state(run, "RUNNING")
                await orchestrator.set_state(run, "COMPLETED")
                with anyio.move_on_after(3):
                    await eventually(partial(_heard, ears, run), within=4, what="the run's end is known")
        assert await orchestrator.active_slots(user_id) == 0
        group.cancel_scope.cancel()


async def _heard(ears: Ears, run: Run) -> bool:
    return run.flow_run_id in ears.heard


async def test_a_hint_settles_an_ended_run_between_two_passes(
    prefect: PrefectApi, redis: Redis, start: StartRun, orchestrator: Orchestrator
) -> None:
    run, ears, passed = await start(new_user()), Ears(), anyio.Event()

    async def a_pass_is_over(report: PassReport, live: Sequence[Run]) -> None:
        assert (report.live, [one.flow_run_id for one in live]) == (1, [run.flow_run_id])
        passed.set()

    async def one_hint() -> AsyncIterator[UUID]:
        await passed.wait()
        await orchestrator.set_state(run, "COMPLETED")
        yield run.flow_run_id
        await anyio.sleep_forever()

    keeper = Keeper(prefect, redis, SlotSettings(sweep=600), hints=one_hint, on_ended=[ears], on_pass=a_pass_is_over)
    async with anyio.create_task_group() as group:
        group.start_soon(keeper.run)
        await eventually(partial(_heard, ears, run), within=30, what="the run's end is known")
        group.cancel_scope.cancel()


async def test_a_hint_of_a_run_that_lives_or_is_not_ours_does_nothing(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, ears: Ears
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await keeper.look_at(run.flow_run_id)
    await keeper.look_at(uuid4())
    assert ears.heard == []
    assert await orchestrator.active_slots(user_id) == 1


async def test_a_hook_that_fails_is_called_again_and_the_others_are_not(
    prefect: PrefectApi, redis: Redis, start: StartRun, orchestrator: Orchestrator, slots: SlotSettings
) -> None:
    before, after, failures = Ears(), Ears(), [RuntimeError("not yet")]

    async def stumble(run: Run) -> None:
        if run.job.user_id == user_id and failures:
            raise failures.pop()

    user_id = new_user()
    keeper = Keeper(prefect, redis, slots, hints=no_hints, on_ended=[before, stumble, after])
    await keeper.lead()
    run = await start(user_id)
    await orchestrator.set_state(run, "COMPLETED")
    report = await keeper.sweep()
    assert (report.settled, report.unsettled) == (0, 1)
    assert await orchestrator.active_slots(user_id) == 0
    assert run.flow_run_id not in after.heard
    report = await keeper.sweep()
    assert (report.settled, report.unsettled) == (1, 0)
    assert before.heard.count(run.flow_run_id) == after.heard.count(run.flow_run_id) == 1


async def test_foreign_runs_with_our_tags_do_not_break_a_pass(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator
) -> None:
    user_id = new_user()
    run = await start(user_id)
    tags = [names.user_tag(user_id), names.tier_tag(Tier.STANDARD)]
    await orchestrator.create_foreign_run(tags=tags, labels={names.LEASE_LABEL: str(run.lease_id)})
    await orchestrator.create_foreign_run(tags=tags, parameters={"job": {"user_id": user_id}}, idempotency_key="x")
    await orchestrator.set_state(run, "COMPLETED")
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 0


async def test_a_claim_is_struck_off_when_its_run_is_seen(
    keeper: Keeper, start: StartRun, admission: Admission, redis: Redis
) -> None:
    claims, run = Claims(redis, clock=utc_now), await start(new_user())
    other = await admission.admit(new_user(), Tier.STANDARD)
    assert await claims.all_standing() == {run.limit: {str(run.lease_id)}, other.limit: {str(other.id)}}
    await keeper.sweep()
    assert await claims.all_standing() == {other.limit: {str(other.id)}}


async def test_a_pass_opens_the_gate(keeper: Keeper, redis: Redis, slots: SlotSettings) -> None:
    gate = Gate(redis, seconds=slots.gate)
    await redis.delete(names.KEEPER_FRESH_KEY)
    assert not await gate.is_open()
    await keeper.sweep()
    assert await gate.is_open()
    assert 0 < await redis.pttl(names.KEEPER_FRESH_KEY) <= 45_000


async def test_another_keeper_takes_over_when_the_leader_falls_silent(
    keeper: Keeper, prefect: PrefectApi, redis: Redis, slots: SlotSettings
) -> None:
    other = Keeper(prefect, redis, slots, hints=no_hints)
    assert not await other.lead()
    with pytest.raises(NotLeading):
        await other.sweep()
    assert await keeper.lead()

    await redis.pexpire(names.KEEPER_LOCK_KEY, 1)
    await eventually(other.lead, within=5, what="the other keeper leads")
    await other.sweep()
    with pytest.raises(NotLeading):
        await keeper.sweep()
    assert not await keeper.lead()


async def test_two_keepers_at_work_settle_each_run_once(
    prefect: PrefectApi, redis: Redis, start: StartRun, orchestrator: Orchestrator
) -> None:
    user_id, ears = new_user(), Ears()
    slots = SlotSettings(sweep=0.2)
    runs = [await start(user_id, Tier.PREMIUM) for _ in range(3)]
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(Keeper(prefect, redis, slots, hints=no_hints, on_ended=[ears]).run)
        for run in runs[:2]:
            await orchestrator.set_state(run, "COMPLETED")
        for run in runs[:2]:
            await eventually(partial(_heard, ears, run), within=30, what="the run is settled")
        assert await orchestrator.active_slots(user_id) == 1
        group.cancel_scope.cancel()
    assert sorted(ears.heard.count(run.flow_run_id) for run in runs) == [0, 1, 1]


async def test_a_run_started_again_by_hand_takes_a_slot_again_and_ends_once_more(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, admission: Admission, ears: Ears
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await orchestrator.set_state(run, "FAILED")
    await keeper.sweep()
    await orchestrator.set_state(run, "SCHEDULED", name="AwaitingRetry")
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 1
    with pytest.raises(SlotsFull):
        await admission.admit(user_id, Tier.STANDARD)
    await orchestrator.set_state(run, "COMPLETED")
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 0
    assert ears.heard.count(run.flow_run_id) == 2


async def test_every_key_of_the_slots_has_an_end(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, redis: Redis
) -> None:
    crashed, done = await start(new_user()), await start(new_user())
    await orchestrator.set_state(crashed, "CRASHED")
    await orchestrator.set_state(done, "COMPLETED")
    await start(new_user())
    await keeper.sweep()
    assert [key for key in await redis.keys("video_orchestrator:*") if await redis.ttl(key) < 0] == []
