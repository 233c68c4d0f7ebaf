"""A real Prefect server with our deployment, and parts of the slots on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol
from uuid import UUID

import anyio
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tabario.clients.prefect import PrefectApi, Run, open_prefect
from tabario.settings import PrefectSettings, SlotSettings
from tabario.slots.admission import Admission
from tabario.slots.clock import utc_now
from tabario.slots.gate import Gate
from tabario.slots.keeper import Keeper
from tabario.tiers import Tier
from tests.support.orchestrator import (
    Orchestrator,
    SettableClock,
    ensure_deployment,
    forget_everything,
    make_job,
    prefect_client,
)
from tests.support.servers import PrefectServer, RedisServer

SWEEP = SlotSettings().sweep


class StartRun(Protocol):
    async def __call__(self, user_id: str, tier: Tier = ...) -> Run: ...


@pytest.fixture
def prefect_settings(prefect_server: PrefectServer) -> PrefectSettings:
    return PrefectSettings(url=prefect_server.api_url, auth_string=SecretStr("any:thing"), one_writer=True)


@pytest.fixture
async def orchestrator(prefect_settings: PrefectSettings) -> AsyncIterator[Orchestrator]:
    async with (
        prefect_client(prefect_settings.url) as http,
        open_prefect(prefect_settings) as prefect,
    ):
        ours = Orchestrator(http, prefect, await ensure_deployment(http))
        yield ours
        await forget_everything(ours.http)


@pytest.fixture
def prefect(orchestrator: Orchestrator) -> PrefectApi:
    return orchestrator.prefect


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def slots() -> SlotSettings:
    return SlotSettings(sweep=0.5)


@pytest.fixture
async def admission(prefect: PrefectApi, redis: Redis, slots: SlotSettings) -> Admission:
    await Gate(redis, seconds=slots.gate).open(since=0)
    return Admission(prefect.leases, redis, slots, clock=utc_now)


@pytest.fixture
async def prefects_own(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """The database in which Prefect keeps its leases."""
    async with Redis.from_url(redis_server.url) as client:
        yield client


async def forget_lease(prefects_own: Redis, lease_id: UUID) -> None:
    """What a Redis that loses its data does to a lease: the count in Prefect's database stays."""
    assert await prefects_own.delete(f"prefect:concurrency:lease:{lease_id}") == 1


async def end_of_lease(prefects_own: Redis, run: Run) -> float:
    """When the lease of a run ends, in seconds since 1970."""
    end = await prefects_own.zscore("prefect:concurrency:expirations", str(run.lease_id))
    assert end is not None
    return float(end)


class Ears:
    """Notes which runs were reported as ended."""

    def __init__(self) -> None:
        self.heard: list[UUID] = []

    async def __call__(self, run: Run) -> None:
        self.heard.append(run.flow_run_id)


async def no_hints() -> AsyncIterator[UUID]:
    """An event stream that never says anything."""
    await anyio.sleep_forever()
    yield UUID(int=0)


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def keeper(prefect: PrefectApi, redis: Redis, slots: SlotSettings, ears: Ears, clock: SettableClock) -> Keeper:
    """A keeper that leads and makes a pass when it is told to."""
    keeper = Keeper(prefect, redis, slots, hints=no_hints, on_ended=[ears], clock=clock)
    assert await keeper.lead()
    return keeper


@pytest.fixture
def start(admission: Admission, prefect: PrefectApi) -> StartRun:
    """Starts a job of a user as the front door does."""

    async def start(user_id: str, tier: Tier = Tier.STANDARD) -> Run:
        lease = await admission.admit(user_id, tier)
        return await prefect.create_run(make_job(user_id, tier=tier), lease_id=lease.id)

    return start


async def keep_for(seconds: float, keeper: Keeper, clock: SettableClock) -> int:
    """Passes as far apart as a keeper makes them; the number of runs that they declared dead."""
    dead = 0
    for _ in range(round(seconds / SWEEP)):
        clock.advance(SWEEP)
        dead += (await keeper.sweep()).declared_dead
    return dead
