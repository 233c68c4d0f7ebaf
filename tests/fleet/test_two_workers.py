"""Thirty jobs on two workers with a home each, of which one dies in the middle of its work."""

from __future__ import annotations

import asyncio
import time

import httpx
import psutil
import pytest
from rich.console import Console

from tests.chaos.checker import paid_twice
from tests.fleet.callers import Callers, new_users
from tests.fleet.database import Database
from tests.support.composition import Composition
from tests.support.engine import forks
from tests.support.waiting import eventually

JOBS = 30
RUN = "lisbon"


def flows(composition: Composition, worker: str) -> list[psutil.Process]:
    """The processes in which a worker's flows run."""
    return forks(composition.tree(worker))


@pytest.mark.timeout(1500)
async def test_no_film_is_lost_with_a_worker_and_no_picture_paid_twice(
    composition: Composition, callers: Callers, database: Database, comfyui: httpx.AsyncClient
) -> None:
    homes = {composition.environment(worker)["HOME"] for worker in ("worker", "worker-2")}
    assert len(homes) == 2
    began, earlier = time.monotonic(), set(await database.states())
    painted_before = len((await comfyui.get("/standin/log")).json()["runs"])
    users = new_users(JOBS)
    replies = await asyncio.gather(*(callers.start(user, RUN) for user in users))
    assert [reply.status_code for reply in replies if reply is not None] == [202] * JOBS

    async def is_in_the_middle() -> bool:
        painted = (await comfyui.get("/standin/log")).json()["runs"]
        return len(painted) >= painted_before + 5 and len(flows(composition, "worker-2")) >= 2

    await eventually(is_in_the_middle, within=120, what="the second worker is in the middle of its work")
    killed = len(flows(composition, "worker-2"))
    composition.kill("worker-2")

    async def all_are_done() -> bool:
        states = {run: state for run, state in (await database.states()).items() if run not in earlier}
        return list(states.values()) == ["COMPLETED"] * JOBS and not await database.taken()

    await eventually(all_are_done, within=1200, what="every job is done and every slot free")
    films = [await callers.film(user, RUN) for user in users]
    log = (await comfyui.get("/standin/log")).json()["runs"][painted_before:]
    seconds = time.monotonic() - began
    Console(highlight=False, soft_wrap=True).print(
        f"\n{JOBS} jobs, {killed} flows killed with their worker: {len(films)} films after {seconds:.0f} s, "
        f"{sum(entry['images'] for entry in log)} pictures painted, {paid_twice(log)} twice"
    )
    assert all(film[4:8] == b"ftyp" for film in films)
    assert paid_twice(log) == 0
    assert sum(entry["images"] for entry in log) == 2 * JOBS
    composition.start("worker-2")
