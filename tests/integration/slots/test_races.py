"""What happens in the middle of a keeper's work, at the one moment at which it would do harm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import anyio.lowlevel
import httpx
import pytest
from redis.asyncio import Redis

from api.cancelling import Cancelling
from api.views import RunViews
from tabario import names
from tabario.clients.prefect import OutcomeUnknown, PrefectApi, Run
from tabario.clients.prefect.http import PrefectHttp
from tabario.clients.prefect.leases import Lease
from tabario.errors import SlotsFull
from tabario.records import JobRecord, JobRecords
from tabario.settings import SlotSettings
from tabario.slots.admission import Admission
from tabario.slots.claims import Claimant, Claims
from tabario.slots.gate import Gate
from tabario.slots.heartbeat import beating
from tabario.slots.keeper import Keeper
from tabario.slots.release import Releaser
from tabario.tiers import Tier
from tests.integration.slots.conftest import StartRun, keep_for, no_hints
from tests.integration.slots.test_faults import DeafTransport
from tests.support.orchestrator import FickleTransport, Orchestrator, PatientTransport, SettableClock, new_user

LIMITS = "/v2/concurrency_limits/filter"
SET_STATE = "/set_state"


@dataclass
class InterruptedTransport(httpx.AsyncBaseTransport):
    """The real server, and something that happens once: before a request to `path` is sent, or after its answer."""

    path: str
    happens: Callable[[], Awaitable[None]] | None
    after: bool = False
    server: httpx.AsyncBaseTransport = field(default_factory=PatientTransport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        happens = self.happens if request.url.path.endswith(self.path) else None
        if happens is None:
            return await self.server.handle_async_request(request)
        self.happens = None
        if not self.after:
            await happens()
            return await self.server.handle_async_request(request)
        response = await self.server.handle_async_request(request)
        await response.aread()
        await happens()
        return response

    async def aclose(self) -> None:
        await self.server.aclose()


class KeeperOver(Protocol):
    def __call__(self, transport: httpx.AsyncBaseTransport) -> AbstractAsyncContextManager[Keeper]: ...


@pytest.fixture
def keeper_over(orchestrator: Orchestrator, redis: Redis, slots: SlotSettings, clock: SettableClock) -> KeeperOver:
    """Opens a leading keeper whose requests go through a transport, its claims and releases too."""

    @asynccontextmanager
    async def opened(transport: httpx.AsyncBaseTransport) -> AsyncIterator[Keeper]:
        async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=transport, timeout=30) as fresh:
            idle = orchestrator.http if isinstance(transport, DeafTransport) else fresh
            prefect = PrefectApi(PrefectHttp(idle=idle, fresh=fresh, one_writer=True))
            keeper = Keeper(prefect, redis, slots, hints=no_hints, clock=clock)
            await redis.delete(names.KEEPER_LOCK_KEY)
            assert await keeper.lead()
            yield keeper

    return opened


@pytest.mark.parametrize("end", ["COMPLETED", "CRASHED"])
async def test_a_run_that_ends_while_counts_are_compared_is_freed_once(
    keeper_over: KeeperOver, admission: Admission, start: StartRun, orchestrator: Orchestrator, end: str
) -> None:
    user_id = new_user()
    first, _ = await start(user_id, Tier.PREMIUM), await start(user_id, Tier.PREMIUM)

    async def one_ends_and_another_starts() -> None:
        await orchestrator.set_state(first, end)
        await admission.admit(user_id, Tier.PREMIUM)

    async with keeper_over(InterruptedTransport(LIMITS, one_ends_and_another_starts)) as keeper:
        await keeper.sweep()
        assert await orchestrator.active_slots(user_id) == 3
        await keeper.look_at(first.flow_run_id)
        await keeper.sweep()
    starts_over = end == "CRASHED"  # and keeps its slot
    assert await orchestrator.active_slots(user_id) == (3 if starts_over else 2)


async def test_a_redis_that_forgot_every_beat_is_no_reason_to_end_a_run_that_lives(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, clock: SettableClock, redis: Redis
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "RUNNING")
    async with beating(redis, run.flow_run_id):
        await keeper.sweep()
    clock.advance(300)
    await redis.delete(names.beat_key(run.flow_run_id))
    await keeper.sweep()
    assert await keep_for(50, keeper, clock) == 0
    assert await keep_for(20, keeper, clock) == 1
    assert await orchestrator.state_of(run) == "Crashed"


async def test_a_run_that_beats_while_it_is_found_dead_lives(
    keeper_over: KeeperOver, start: StartRun, orchestrator: Orchestrator, clock: SettableClock, redis: Redis
) -> None:
    run = await start(new_user())
    await orchestrator.set_state(run, "RUNNING")

    async def it_beats() -> None:
        await redis.incr(names.beat_key(run.flow_run_id))

    async def it_beats_before_the_next() -> None:
        transport.happens = it_beats

    transport = InterruptedTransport("/flow_runs/filter", None)
    async with keeper_over(transport) as keeper:
        async with beating(redis, run.flow_run_id):
            await keeper.sweep()
        assert await keep_for(20, keeper, clock) == 0
        transport.happens = it_beats_before_the_next  # when the keeper has looked at who lives, and asks who ended
        assert await keep_for(10, keeper, clock) == 0
    assert await orchestrator.state_of(run) == "Running"


async def test_after_an_outage_no_job_is_let_in_until_lost_slots_are_taken_again(
    keeper_over: KeeperOver, start: StartRun, orchestrator: Orchestrator, slots: SlotSettings, redis: Redis
) -> None:
    run = await start(new_user())
    await redis.delete(names.KEEPER_FRESH_KEY)
    await orchestrator.prefect.leases.release(run.lease_id)
    gate, seen = Gate(redis, seconds=slots.gate), []

    async def somebody_asks() -> None:
        seen.append(await gate.is_open())

    async with keeper_over(InterruptedTransport("/increment-with-lease", somebody_asks)) as keeper:
        assert (await keeper.sweep()).reclaimed == 1
    assert seen == [False]
    assert await gate.is_open()


async def test_a_slot_taken_again_without_a_reply_is_not_sold_before_its_lease_is_over(
    keeper_over: KeeperOver, start: StartRun, orchestrator: Orchestrator, slots: SlotSettings, clock: SettableClock
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await orchestrator.prefect.leases.release(run.lease_id)
    async with keeper_over(DeafTransport()) as deaf:
        await deaf.sweep()  # takes the slot again, and never learns that it has
    async with keeper_over(PatientTransport()) as keeper:
        clock.advance(slots.claim_lease + 21)
        report = await keeper.sweep()
        assert (report.freed, report.reclaimed, report.cancelled) == (0, 0, 0)
        assert await orchestrator.active_slots(user_id) == 1
        clock.advance(slots.run_lease)
        report = await keeper.sweep()
    assert (report.freed, report.reclaimed) == (1, 1)
    assert await orchestrator.active_slots(user_id) == 1


async def crashed(orchestrator: Orchestrator, run: Run) -> Run:
    await orchestrator.set_state(run, "RUNNING")
    await orchestrator.set_state(run, "CRASHED")
    return await orchestrator.prefect.find_run(run.job.user_id, run.job.run_id)


async def cancelling(orchestrator: Orchestrator, redis: Redis, run: Run) -> Cancelling:
    """What a front door cancels jobs with; the run has a record, as each that a front door made."""
    records = JobRecords(redis)
    await records.write(JobRecord(job_id=run.job.job_id))
    return Cancelling(orchestrator.prefect, RunViews(records, public_url="http://door"), redis)


async def test_the_owner_of_a_crashed_job_and_the_keeper_do_not_cross(
    keeper_over: KeeperOver, start: StartRun, orchestrator: Orchestrator, redis: Redis, clock: SettableClock
) -> None:
    run = await crashed(orchestrator, await start(new_user()))
    front_door, done = await cancelling(orchestrator, redis, run), anyio.Event()
    clock.advance(6)

    async def cancel() -> None:
        await front_door.cancel(run)
        done.set()

    async with anyio.create_task_group() as others:

        async def its_owner_cancels() -> None:
            others.start_soon(cancel)
            with anyio.move_on_after(2):  # it has to wait for the keeper, and is not done by then
                await done.wait()

        async with keeper_over(InterruptedTransport(SET_STATE, its_owner_cancels)) as keeper:
            await keeper.sweep()
    assert await orchestrator.state_of(run) == "Cancelled"


async def test_a_crashed_job_is_cancelled_before_it_starts_over(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, redis: Redis
) -> None:
    user_id = new_user()
    run = await crashed(orchestrator, await start(user_id))
    await (await cancelling(orchestrator, redis, run)).cancel(run)
    assert await orchestrator.state_of(run) == "Cancelled"
    await keeper.sweep()
    assert await orchestrator.active_slots(user_id) == 0


async def test_a_resume_whose_reply_was_lost_is_not_forced_again(start: StartRun, orchestrator: Orchestrator) -> None:
    run = await crashed(orchestrator, await start(new_user()))

    async def a_worker_takes_it_and_the_reply_is_lost() -> None:
        await orchestrator.set_state(run, "PENDING")
        raise httpx.ReadTimeout("lost")

    transport = InterruptedTransport(SET_STATE, a_worker_takes_it_and_the_reply_is_lost, after=True)
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=transport) as http:
        with pytest.raises(OutcomeUnknown):
            await PrefectApi(PrefectHttp(idle=http, fresh=http, one_writer=True)).resume_run(run, "again")
    assert await orchestrator.state_of(run) == "Pending"


async def test_a_resume_that_was_never_made_is_not_counted(
    keeper_over: KeeperOver,
    start: StartRun,
    orchestrator: Orchestrator,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await crashed(orchestrator, await start(new_user()))
    clock.advance(6)
    monkeypatch.setattr("tabario.clients.prefect.http.RETRY_SECONDS", 0)

    async def nobody_hears_it() -> None:
        raise httpx.ConnectError("refused")

    async with keeper_over(InterruptedTransport(SET_STATE, nobody_hears_it)) as keeper:
        assert (await keeper.sweep()).resumed == 0
        for _ in range(2):
            assert (await keeper.sweep()).resumed == 1
            await crashed(orchestrator, run)
            clock.advance(6)
        await keeper.sweep()
    assert await orchestrator.state_of(run) == "Crashed"


async def test_the_job_of_a_newer_version_keeps_its_slot(
    keeper: Keeper, start: StartRun, orchestrator: Orchestrator, admission: Admission
) -> None:
    user_id = new_user()
    run = await start(user_id)
    await orchestrator.set_state(run, "COMPLETED")
    await keeper.sweep()
    lease = await admission.admit(user_id, Tier.STANDARD)
    job = run.job.model_dump(mode="json") | {"colour": "blue"}
    job["spec"] |= {"image_style": "of tomorrow", "language": "tlh", "subtitle_style": "sung", "rhythm": 3}
    await orchestrator.create_foreign_run(
        name=run.name, parameters={"job": job}, idempotency_key=str(lease.id), tags=[names.user_tag(user_id)]
    )
    assert (await keeper.sweep()).live == 1
    assert await orchestrator.active_slots(user_id) == 1
    with pytest.raises(SlotsFull):
        await admission.admit(user_id, Tier.STANDARD)


async def test_a_claim_without_a_reply_stands_beside_a_later_one(
    orchestrator: Orchestrator, start: StartRun, redis: Redis, clock: SettableClock
) -> None:
    run = await start(new_user(), Tier.PREMIUM)
    claims = Claims(redis, clock=clock)
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=DeafTransport(), timeout=30) as deaf:
        http = PrefectHttp(idle=orchestrator.http, fresh=deaf, one_writer=True)
        with pytest.raises(OutcomeUnknown):
            await Claimant(claims, PrefectApi(http).leases).claim_again(run.limit, size=3, seconds=180)
    grant = await Claimant(claims, orchestrator.prefect.leases).claim_again(run.limit, size=3, seconds=180)
    standing = await claims.standing(run.limit)
    assert str(grant.lease.id) in standing
    assert len(standing - {str(run.lease_id)}) == 2


async def test_a_lease_that_is_gone_is_settled_though_prefect_goes_away_too(
    orchestrator: Orchestrator, start: StartRun, redis: Redis, clock: SettableClock
) -> None:
    run = await start(new_user())
    await orchestrator.prefect.leases.release(run.lease_id)
    server = FickleTransport()

    async def prefect_goes_away() -> None:
        server.away = True

    transport = InterruptedTransport("/renew", prefect_goes_away, after=True, server=server)
    async with httpx.AsyncClient(base_url=orchestrator.http.base_url, transport=transport, timeout=30) as http:
        leases = PrefectApi(PrefectHttp(idle=http, fresh=http, one_writer=True)).leases
        assert await Releaser(redis, leases, Claims(redis, clock=clock)).release(Lease(run.lease_id, run.limit))
