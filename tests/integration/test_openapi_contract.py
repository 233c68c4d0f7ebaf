"""The front door keeps to its own OpenAPI document under generated requests, good ones and bad ones."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Final

import anyio
import pytest
import uvicorn
from redis.asyncio import Redis

from tabario.clients.prefect import Lease, Run, RunState
from tabario.records import Film, JobRecord, Stage
from tests.support.front_door import FrontDoor, front_door
from tests.support.servers import free_port
from tests.support.tokens import token
from tests.support.waiting import eventually

CONFIGURATION: Final = Path(__file__).with_name("schemathesis.toml")
FILM: Final = bytes(range(256)) * 8
UNLIMITED: Final = "1000000/second"


async def end_jobs(door: FrontDoor) -> None:
    """Keeps the gate open, and ends each job soon after its start, with a film or without: its slot is free."""
    await door.films.put_bytes("film.mp4", FILM)
    ends = cycle((RunState.COMPLETED, RunState.FAILED))
    while True:
        await door.gate.open(since=0)
        for run in list(door.prefect.runs.values()):
            if not run.state.terminal:
                end = next(ends)
                if end is RunState.COMPLETED:
                    await door.records.write(done(run))
                await door.admission.give_back(Lease(run.lease_id, ""))
                await door.outcomes.note(door.prefect.move(run, end))
        await anyio.sleep(0.2)


def done(run: Run) -> JobRecord:
    film = Film(film_key="film.mp4", byte_count=len(FILM), duration=3.5, width=720, height=1280, scenes=1)
    return JobRecord(job_id=run.job.job_id, stage=Stage.DONE, progress=1.0, film=film)


@asynccontextmanager
async def served(door: FrontDoor) -> AsyncIterator[str]:
    """The front door on a port; the address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(door.app, port=port, http="h11", ws="none", lifespan="off", log_config=None))

    async def has_started() -> bool:
        return server.started

    async with anyio.create_task_group() as serving, anyio.create_task_group() as working:
        serving.start_soon(server.serve)
        working.start_soon(end_jobs, door)
        await eventually(has_started, within=10, what="the front door listens")
        yield f"http://127.0.0.1:{port}"
        working.cancel_scope.cancel()
        server.should_exit = True


@pytest.mark.timeout(600)
async def test_every_documented_operation_keeps_to_the_document(redis: Redis, tmp_path: Path) -> None:
    async with (
        front_door(redis, tmp_path, rate=UNLIMITED, read_rate=UNLIMITED) as door,
        served(door) as address,
    ):
        program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
        header = f"Authorization: Bearer {token()}"
        done = await anyio.run_process([*program, f"{address}/openapi.json", "--header", header], check=False)
    assert done.returncode == 0, done.stdout.decode()
