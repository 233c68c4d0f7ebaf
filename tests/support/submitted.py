"""Jobs at the front door under test: submitted, started, and with a film."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import httpx

from tabario.clients.prefect import Run, RunState
from tabario.metrics.series import Observation
from tabario.records import Companion, Film, JobRecord, Stage
from tests.support.front_door import FrontDoor

JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams", "run_id": "lisbon"}
FILM: Final = bytes(range(256)) * 4


async def start(client: httpx.AsyncClient, **changes: str) -> httpx.Response:
    return await client.post("/orchestrate/start", json={**JOB, **changes})


async def started(door: FrontDoor, client: httpx.AsyncClient, **changes: str) -> Run:
    reply = await start(client, **changes)
    assert reply.status_code == 202, reply.text
    return door.prefect.runs[UUID(reply.json()["flow_run_id"])]


async def filmed(door: FrontDoor, client: httpx.AsyncClient) -> Run:
    run = await started(door, client)
    await door.films.put_bytes("runs/abc/film.mp4", FILM)
    companions = {}
    for name in Companion:
        companions[name] = f"runs/abc/{name}"
        await door.films.put_bytes(companions[name], f"the {name}".encode())
    film = Film(
        film_key="runs/abc/film.mp4",
        byte_count=len(FILM),
        duration=3.5,
        width=720,
        height=1280,
        scenes=2,
        companions=companions,
    )
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.DONE, progress=1.0, film=film))
    return door.prefect.move(run, RunState.COMPLETED)


async def count(door: FrontDoor, observation: Observation) -> float:
    ((name, _), *_rest) = observation.deltas
    return (await door.ledger.read()).values.get(name, 0.0)
