"""An upgrade: one service after the other restarts while jobs run and users call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import pytest
from rich.console import Console

from tests.fleet.callers import Callers, new_users
from tests.fleet.database import Database
from tests.support.composition import Composition
from tests.support.waiting import eventually

JOBS: Final = 20
RUN: Final = "lisbon"
USUAL_GRACE_SECONDS: Final = 10.0
BEFORE_WORKERS: Final = ("prefect-server", "prefect-services", "redis", "exporter")
FROM_WORKERS_ON: Final = ("worker", "worker-2", "front-door", "front-door-2")
ALLOWED: Final = {
    "start 202",
    "start 409 slots_full with Retry-After",
    "start 409 run_id_taken",
    "start 503 unavailable with Retry-After",
    "status 200",
    "status 503 unavailable with Retry-After",
    "video 200",
}


def grace(composition: Composition, service: str) -> float:
    """Seconds that a service gets to stop, as the file says."""
    said = str(composition.services[service].get("stop_grace_period", ""))
    if said.endswith("m"):
        return 60 * float(said[:-1])
    return float(said.rstrip("s")) if said else USUAL_GRACE_SECONDS


async def restart(composition: Composition, service: str) -> None:
    await anyio.to_thread.run_sync(lambda: composition.stop(service, grace=grace(composition, service)))
    await anyio.to_thread.run_sync(composition.start, service)


@asynccontextmanager
async def users_at_work(callers: Callers, users: list[str]) -> AsyncIterator[None]:
    """Each user looks at the job again and again, and tries to start a second one while the first is under way."""

    async def work(user: str) -> None:
        while True:
            if await callers.state(user, RUN) in {"queued", "running"}:
                await callers.start(user, f"second-{time.monotonic_ns()}")
            await asyncio.sleep(3)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(user)) for user in users]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def watching(database: Database) -> AsyncIterator[set[str]]:
    """Users who were seen with more live runs than the one that their tier allows."""
    oversold: set[str] = set()

    async def watch() -> None:
        while True:
            oversold.update(user for user, runs in (await database.live()).items() if runs > 1)
            await asyncio.sleep(0.5)

    task = asyncio.create_task(watch())
    try:
        yield oversold
    finally:
        task.cancel()


@pytest.mark.timeout(1500)
async def test_every_service_restarts_under_load_and_nothing_is_lost_or_oversold(
    composition: Composition, callers: Callers, database: Database
) -> None:
    users = new_users(JOBS)
    replies = await asyncio.gather(*(callers.start(user, RUN) for user in users))
    assert [reply.status_code for reply in replies if reply is not None] == [202] * JOBS
    first = set(await database.states())
    async with watching(database) as oversold:
        async with users_at_work(callers, users):
            for service in BEFORE_WORKERS:
                await restart(composition, service)
            newcomer = composition.scale("worker", 3)
            await anyio.to_thread.run_sync(composition.start, newcomer)  # old and new side by side
            for service in FROM_WORKERS_ON:
                await restart(composition, service)

            async def all_have_ended() -> bool:
                states = await database.states()
                return all(states[run] in {"COMPLETED", "FAILED", "CANCELLED"} for run in first)

            await eventually(all_have_ended, within=1200, what="every job has ended")

        async def is_quiet() -> bool:
            return not await database.live() and not await database.taken()

        await eventually(is_quiet, within=600, what="every slot is free")
    await anyio.to_thread.run_sync(lambda: composition.stop(newcomer, grace=grace(composition, newcomer)))
    films = [await callers.film(user, RUN) for user in users]
    Console(highlight=False, soft_wrap=True).print(
        "\nwhat callers saw:", *(f"\n  {count:5} {what}" for what, count in sorted(callers.seen.items()))
    )
    states = await database.states()
    assert {states[run] for run in first} == {"COMPLETED"}
    assert all(film[4:8] == b"ftyp" for film in films)
    assert not oversold
    assert set(callers.seen) <= ALLOWED
