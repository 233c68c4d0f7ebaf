"""One scene of a finished job anew: a job of its own, with a slot of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from redis.asyncio import Redis

from tabario.clients.prefect import Run, RunState
from tabario.metrics.definitions import JOBS_ENQUEUED, SCENES_REGENERATED
from tabario.metrics.series import Counter
from tabario.records import Film, JobRecord, Stage
from tests.support.front_door import FrontDoor, front_door
from tests.support.tokens import OTHER_USER

JOB = {"script": "Trams climb the hills. The river waits below.", "caption": "Trams", "run_id": "lisbon"}


@pytest.fixture
async def door(redis: Redis, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(redis, tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as opened:
        yield opened


async def started(door: FrontDoor, client: httpx.AsyncClient) -> Run:
    reply = await client.post("/orchestrate/start", json=JOB)
    return door.prefect.runs[UUID(reply.json()["flow_run_id"])]


async def filmed(door: FrontDoor, run: Run, *, scenes: int = 2) -> Run:
    film = Film(film_key="film.mp4", byte_count=9, duration=3.5, width=720, height=1280, scenes=scenes)
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.DONE, progress=1.0, film=film))
    door.admission.held.clear()
    return door.prefect.move(run, RunState.COMPLETED)


@pytest.fixture
async def run(door: FrontDoor, client: httpx.AsyncClient) -> Run:
    return await filmed(door, await started(door, client))


async def regenerate(
    client: httpx.AsyncClient,
    scene: object = 2,
    *,
    run: str = "lisbon",
    key: str = "",
    **body: Any,  # noqa: ANN401 - JSON
) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    path = f"/orchestrate/runs/{run}/scenes/{scene}/regenerate"
    if not body:
        return await client.post(path, headers=headers)
    return await client.post(path, headers=headers, json=body)


async def made(door: FrontDoor, reply: httpx.Response) -> Run:
    assert reply.status_code == 202, reply.text
    return door.prefect.runs[UUID(reply.json()["flow_run_id"])]


async def test_new_job_differs_in_that_scene_only(door: FrontDoor, client: httpx.AsyncClient, run: Run) -> None:
    reply = await regenerate(client)
    new = (await made(door, reply)).job
    assert reply.headers["location"] == f"/orchestrate/status/{new.run_id}"
    assert new.spec == run.job.spec
    assert list(new.changes) == [2]
    assert new.changes[2].image_prompt is None
    assert (new.job_id, new.run_id) != (run.job.job_id, run.job.run_id)


async def test_every_time_is_another_picture(door: FrontDoor, client: httpx.AsyncClient, run: Run) -> None:
    seeds = set()
    for _ in range(3):
        new = await made(door, await regenerate(client, run=run.job.run_id))
        seeds.add(new.job.changes[2].seed)
        door.admission.held.clear()
    assert len(seeds) == 3


async def test_prompt_and_seed_can_be_chosen_and_stay_when_another_scene_is_made_anew(
    door: FrontDoor, client: httpx.AsyncClient, run: Run
) -> None:
    reply = await regenerate(client, run=run.job.run_id, image_prompt="a tram at night", seed=7, run_id="second")
    second = await filmed(door, await made(door, reply))
    assert second.job.run_id == "second"
    third = (await made(door, await regenerate(client, 1, run="second", seed=9))).job
    assert {n: (change.seed, change.image_prompt) for n, change in third.changes.items()} == {
        1: (9, None),
        2: (7, "a tram at night"),
    }


@pytest.mark.usefixtures("run")
async def test_it_takes_a_slot_like_any_job(client: httpx.AsyncClient) -> None:
    assert (await regenerate(client)).status_code == 202
    refused = await regenerate(client, 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "slots_full")
    assert len(refused.json()["active"]) == 1


@pytest.mark.usefixtures("run")
async def test_repetition_under_the_same_key_starts_nothing(door: FrontDoor, client: httpx.AsyncClient) -> None:
    first, second = await regenerate(client, key="k"), await regenerate(client, key="k")
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(door.prefect.runs) == 2
    other = await regenerate(client, 1, key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_job_without_a_film_has_no_scenes_yet(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await started(door, client)
    reply = await regenerate(client)
    assert (reply.status_code, reply.json()["code"]) == (409, "no_film")


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("scene", "body", "status", "code"),
    [
        (3, {}, 404, "not_found"),
        (0, {}, 422, "invalid_input"),
        ("two", {}, 422, "invalid_input"),
        (1, {"image_prompt": ""}, 422, "invalid_input"),
        (1, {"seed": -1}, 422, "invalid_input"),
        (1, {"script": "Another one."}, 422, "invalid_input"),
    ],
)
async def test_wrong_wish_is_refused(
    client: httpx.AsyncClient, scene: object, body: dict[str, Any], status: int, code: str
) -> None:
    reply = await regenerate(client, scene, **body)
    assert (reply.status_code, reply.json()["code"]) == (status, code)


@pytest.mark.usefixtures("run")
async def test_body_of_another_kind_is_refused(client: httpx.AsyncClient) -> None:
    reply = await client.post("/orchestrate/runs/lisbon/scenes/1/regenerate", content="seed=1")
    assert reply.status_code == 415


@pytest.mark.usefixtures("run")
async def test_scene_of_a_stranger_is_not_there(door: FrontDoor) -> None:
    async with door.client(user_id=OTHER_USER) as stranger:
        assert (await regenerate(stranger)).status_code == 404


@pytest.mark.usefixtures("run")
async def test_it_is_counted_as_accepted_and_as_regenerated(door: FrontDoor, client: httpx.AsyncClient) -> None:
    new = await made(door, await regenerate(client))
    await door.outcomes.note(door.prefect.move(new, RunState.COMPLETED))
    assert await counted(door, SCENES_REGENERATED) == 1
    assert await counted(door, JOBS_ENQUEUED) == 2


async def counted(door: FrontDoor, counter: Counter) -> float:
    ((name, _),) = counter.increment().deltas
    return (await door.ledger.read()).values[name]
