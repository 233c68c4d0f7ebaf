"""Which waiting job starts next, asked of a real Prefect server in a worker's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.cli.deployment import Outcome, deploy
from tabario.clients.prefect import PrefectApi, Run
from tabario.settings import ComfyUISettings, Settings, SlotSettings, WorkPoolSettings
from tabario.slots.clock import utc_now
from tabario.slots.fairness import Fairness
from tabario.slots.keeper import Keeper
from tabario.slots.leader import Leader
from tabario.tiers import Tier
from tests.integration.slots.conftest import StartRun, no_hints
from tests.support.jobs import settings_for
from tests.support.orchestrator import Orchestrator, SettableClock, end_all_runs, new_user
from tests.support.servers import PrefectServer, RedisServer

QueueJob = Callable[[Tier], Awaitable[Run]]

POOL = f"/work_pools/{names.WORK_POOL}"
STANDARD_WAIT = 30.0  # shorter than what the keeper grants a silent run, for the clock moves for that too


class Worker:
    """Asks for work as a Prefect worker does, and says what became of it."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def offered(self) -> list[UUID]:
        """The runs that a worker may start now."""
        soon = datetime.now(UTC) + timedelta(seconds=10)
        body = {"scheduled_before": soon.isoformat()}
        answer = await self._orchestrator.http.post(f"{POOL}/get_scheduled_flow_runs", json=body)
        return [UUID(offer["flow_run"]["id"]) for offer in answer.raise_for_status().json()]

    async def begin(self, run: Run) -> None:
        """Takes a run that must be on offer."""
        assert run.flow_run_id in await self.offered()
        await self._orchestrator.set_state(run, "PENDING")

    async def finish(self, run: Run) -> None:
        await self._orchestrator.set_state(run, "COMPLETED")


@pytest.fixture
def settings(prefect_server: PrefectServer, redis_server: RedisServer, tmp_path: Path) -> Settings:
    return settings_for(
        prefect_url=prefect_server.api_url,
        redis_url=redis_server.url,
        directory=tmp_path,
        comfyui=ComfyUISettings(url="http://127.0.0.1:8188"),
    )


async def deploy_pool(settings: Settings, limit: int) -> Outcome:
    """Deploys with room for `limit` jobs; says what that did to the work pool."""
    changes = await deploy(settings.model_copy(update={"work_pool": WorkPoolSettings(limit=limit)}))
    return next(change.outcome for change in changes if change.kind == "work pool")


@pytest.fixture
async def worker(settings: Settings, orchestrator: Orchestrator) -> AsyncIterator[Worker]:
    """A worker of a pool with one place and no waiting runs."""
    await deploy_pool(settings, 1)
    await end_all_runs(orchestrator.http)
    yield Worker(orchestrator)
    for queue in names.WORK_QUEUES.values():
        (await orchestrator.http.patch(f"{POOL}/queues/{queue}", json={"is_paused": False})).raise_for_status()


@pytest.fixture
def slots() -> SlotSettings:
    return SlotSettings(sweep=0.5, standard_wait=STANDARD_WAIT)


@pytest.fixture
def queue_job(start: StartRun, worker: Worker) -> QueueJob:  # noqa: ARG001 - the pool must be there first
    """Queues a job of a user of its own."""

    async def queue_job(tier: Tier) -> Run:
        return await start(new_user(), tier)

    return queue_job


async def test_the_pool_starts_no_more_jobs_at_once_than_the_settings_say(
    settings: Settings, worker: Worker, queue_job: QueueJob
) -> None:
    assert await deploy_pool(settings, 2) is Outcome.UPDATED
    assert await deploy_pool(settings, 2) is Outcome.UNCHANGED
    first, second, third = [await queue_job(Tier.PREMIUM) for _ in range(3)]
    assert await worker.offered() == [first.flow_run_id, second.flow_run_id]
    await worker.begin(first)
    await worker.begin(second)
    assert await worker.offered() == []
    await worker.finish(first)
    assert await worker.offered() == [third.flow_run_id]


async def test_a_premium_job_starts_before_standard_ones_that_wait_longer(
    worker: Worker, queue_job: QueueJob, keeper: Keeper
) -> None:
    begun = await queue_job(Tier.STANDARD)
    await worker.begin(begun)
    await queue_job(Tier.STANDARD)
    premium = await queue_job(Tier.PREMIUM)
    assert not (await keeper.sweep()).overdue
    assert await worker.offered() == []
    await worker.finish(begun)
    assert await worker.offered() == [premium.flow_run_id]


async def test_premium_jobs_that_keep_coming_pass_a_standard_one_only_until_it_is_overdue(
    worker: Worker, queue_job: QueueJob, keeper: Keeper, clock: SettableClock
) -> None:
    standard = await queue_job(Tier.STANDARD)
    for _ in range(3):
        premium = await queue_job(Tier.PREMIUM)
        await keeper.sweep()
        await worker.begin(premium)
        await worker.finish(premium)
    await queue_job(Tier.PREMIUM)
    clock.advance(STANDARD_WAIT)
    assert (await keeper.sweep()).overdue
    assert await worker.offered() == [standard.flow_run_id]


async def test_overdue_standard_jobs_do_not_pass_an_older_premium_one(
    worker: Worker, queue_job: QueueJob, keeper: Keeper, clock: SettableClock
) -> None:
    premium = await queue_job(Tier.PREMIUM)
    for _ in range(2):
        await queue_job(Tier.STANDARD)
    clock.advance(STANDARD_WAIT)
    assert (await keeper.sweep()).overdue
    assert await worker.offered() == [premium.flow_run_id]


async def test_premium_jobs_go_first_again_once_no_standard_one_is_overdue(
    worker: Worker, queue_job: QueueJob, keeper: Keeper, clock: SettableClock, prefect: PrefectApi
) -> None:
    overdue = await queue_job(Tier.STANDARD)
    clock.advance(STANDARD_WAIT)
    await keeper.sweep()
    await worker.begin(overdue)
    clock.reset()
    await queue_job(Tier.STANDARD)
    premium = await queue_job(Tier.PREMIUM)
    assert not (await keeper.sweep()).overdue
    await worker.finish(overdue)
    assert await worker.offered() == [premium.flow_run_id]
    first, second = [await prefect.queues.read(tier) for tier in (Tier.PREMIUM, Tier.STANDARD)]
    assert first is not None
    assert second is not None
    assert second.priority == first.priority + 1  # as deployed: a queue of an operator's own may come after


@pytest.fixture
def succeed(prefect: PrefectApi, redis: Redis, slots: SlotSettings) -> Callable[[], Awaitable[Keeper]]:
    """Lets the leading keeper die; another one takes over, by whose clock nothing is overdue."""

    async def succeed() -> Keeper:
        await redis.delete(names.KEEPER_LOCK_KEY)
        heir = Keeper(prefect, redis, slots, hints=no_hints)
        assert await heir.lead()
        return heir

    return succeed


async def test_the_next_keeper_makes_good_what_a_dead_one_left(
    worker: Worker,
    queue_job: QueueJob,
    keeper: Keeper,
    clock: SettableClock,
    succeed: Callable[[], Awaitable[Keeper]],
) -> None:
    standard = await queue_job(Tier.STANDARD)
    premium = await queue_job(Tier.PREMIUM)
    clock.advance(STANDARD_WAIT)
    await keeper.sweep()
    heir = await succeed()
    assert await worker.offered() == [standard.flow_run_id]
    await heir.sweep()
    assert await worker.offered() == [premium.flow_run_id]


@pytest.mark.parametrize("gone", [names.WORK_QUEUES.values(), [names.WORK_QUEUES[Tier.STANDARD]]])
@pytest.mark.usefixtures("worker")
async def test_nothing_is_put_in_order_before_both_queues_are_deployed(  # noqa: PLR0913, PLR0917 - fixtures
    prefect: PrefectApi,
    redis: Redis,
    slots: SlotSettings,
    orchestrator: Orchestrator,
    settings: Settings,
    gone: Iterable[str],
) -> None:
    for queue in gone:
        (await orchestrator.http.delete(f"{POOL}/queues/{queue}")).raise_for_status()
    assert not await Fairness(prefect.queues, Leader(redis), slots, clock=utc_now).order_queues()
    await deploy_pool(settings, 1)


async def test_a_queue_that_an_operator_paused_stays_paused(
    worker: Worker, queue_job: QueueJob, keeper: Keeper, clock: SettableClock, orchestrator: Orchestrator
) -> None:
    for queue in names.WORK_QUEUES.values():
        (await orchestrator.http.patch(f"{POOL}/queues/{queue}", json={"is_paused": True})).raise_for_status()
    await queue_job(Tier.STANDARD)
    await queue_job(Tier.PREMIUM)
    clock.advance(STANDARD_WAIT)
    assert (await keeper.sweep()).overdue
    clock.reset()
    assert not (await keeper.sweep()).overdue
    assert await worker.offered() == []
