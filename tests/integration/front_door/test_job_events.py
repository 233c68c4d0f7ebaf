"""Following a job live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from redis.asyncio import Redis

from api.feed import MAX_PER_USER
from tabario import names
from tabario.changes import JobChanges
from tabario.clients.prefect import Run, RunState
from tabario.records import Film, JobFailure, JobRecord, Stage
from tests.support.front_door import FrontDoor, front_door
from tests.support.tokens import OTHER_USER, token
from tests.support.waiting import eventually

JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams", "run_id": "lisbon"}
EVENTS: Final = "/orchestrate/events/lisbon"
FILM: Final = Film(film_key="runs/abc/film.mp4", byte_count=10, duration=3.5, width=720, height=1280, scenes=2)


@pytest.fixture
async def door(redis: Redis, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(redis, tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as opened:
        yield opened


@pytest.fixture
async def run(door: FrontDoor, client: httpx.AsyncClient) -> Run:
    reply = await client.post("/orchestrate/start", json=JOB)
    return door.prefect.runs[UUID(reply.json()["flow_run_id"])]


def parse(text: str) -> list[dict[str, str]]:
    """The events of a stream, each as its fields."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def told(events: list[dict[str, str]]) -> list[tuple[str, str, float]]:
    data = [json.loads(event["data"]) for event in events]
    return [(event["event"], one["stage"], one["progress"]) for event, one in zip(events, data, strict=True)]


async def write(door: FrontDoor, run: Run, stage: Stage, progress: float, **fields: Any) -> None:  # noqa: ANN401 - any field of a record
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=stage, progress=progress, **fields))


async def test_follower_is_told_how_things_stand_and_every_change_to_the_end(
    door: FrontDoor, client: httpx.AsyncClient, run: Run
) -> None:
    reading = asyncio.create_task(client.get(EVENTS))
    await eventually(lambda: door.is_followed(run), within=10, what="the job is followed")
    await write(door, run, Stage.VOICEOVER, 0.1)
    await write(door, run, Stage.IMAGES, 0.5)
    await write(door, run, Stage.DONE, 1.0, film=FILM)
    reply = await reading
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = parse(reply.text)
    assert told(events)[-3:] == [("progress", "voiceover", 0.1), ("progress", "images", 0.5), ("done", "done", 1.0)]
    assert json.loads(events[-1]["data"])["film"]["url"].endswith("/orchestrate/video/lisbon")
    assert not await door.is_followed(run)


async def test_follower_who_comes_back_is_told_what_was_missed(
    door: FrontDoor, client: httpx.AsyncClient, run: Run
) -> None:
    for progress in (0.2, 0.3, 0.4):
        await write(door, run, Stage.IMAGES, progress)
    await write(door, run, Stage.DONE, 1.0, film=FILM)
    changes = await JobChanges(door.redis).since(run.job.job_id, "0-0")
    seen = next(change.id for change in changes if change.record.progress == 0.3)
    events = parse((await client.get(EVENTS, headers={"Last-Event-ID": seen})).text)
    assert told(events) == [("progress", "images", 0.4), ("done", "done", 1.0)]
    assert [event["id"] for event in events] == [change.id for change in changes[-2:]]


async def test_follower_who_saw_the_end_is_told_it_again(door: FrontDoor, client: httpx.AsyncClient, run: Run) -> None:
    await write(door, run, Stage.DONE, 1.0, film=FILM)
    [end] = parse((await client.get(EVENTS)).text)
    [again] = parse((await client.get(EVENTS, headers={"Last-Event-ID": end["id"]})).text)
    assert again == end


async def test_failure_is_the_last_event(door: FrontDoor, client: httpx.AsyncClient, run: Run) -> None:
    failure = JobFailure(stage=Stage.IMAGES, code="image_failed", reason="error", message="images: It broke.")
    await write(door, run, Stage.IMAGES, 0.5, failure=failure)
    [event] = parse((await client.get(EVENTS)).text)
    assert event["event"] == "failed"
    assert json.loads(event["data"])["failure"]["code"] == "image_failed"


async def test_cancelled_job_ends_its_events(door: FrontDoor, client: httpx.AsyncClient, run: Run) -> None:
    reading = asyncio.create_task(client.get(EVENTS))
    await eventually(lambda: door.is_followed(run), within=10, what="the job is followed")
    await door.outcomes.note(door.prefect.move(run, RunState.CANCELLED))
    assert parse((await reading).text)[-1]["event"] == "failed"


async def test_job_whose_events_have_expired_is_told_from_its_record(
    door: FrontDoor, client: httpx.AsyncClient, run: Run
) -> None:
    await write(door, run, Stage.DONE, 1.0, film=FILM)
    await door.redis.delete(names.changes_key(str(run.job.job_id)))
    [event] = parse((await client.get(EVENTS)).text)
    assert (event["event"], "id" in event) == ("done", False)


async def test_job_of_which_nothing_is_kept_ends_as_its_run_did(
    door: FrontDoor, client: httpx.AsyncClient, run: Run
) -> None:
    await door.records.delete(run.job.job_id)
    door.prefect.move(run, RunState.FAILED)
    [event] = parse((await client.get(EVENTS)).text)
    assert event["event"] == "failed"


async def test_events_end_with_the_token(door: FrontDoor, run: Run) -> None:
    headers = {"Authorization": f"Bearer {token(lifetime=timedelta(seconds=1))}"}
    reply = await door.anonymous.get(EVENTS, headers=headers)
    assert told(parse(reply.text)) == [("progress", "queued", 0.0)]
    assert not await door.is_followed(run)


async def test_user_follows_so_many_jobs_at_once_and_no_more(
    door: FrontDoor, client: httpx.AsyncClient, run: Run
) -> None:
    readings = [asyncio.create_task(client.get(EVENTS)) for _ in range(MAX_PER_USER)]
    await eventually(lambda: door.is_followed(run, by=MAX_PER_USER), within=10, what="all follow")
    refused = await client.get(EVENTS)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) > 0
    await write(door, run, Stage.DONE, 1.0, film=FILM)
    assert {reading.status_code for reading in await asyncio.gather(*readings)} == {200}
    assert (await client.get(EVENTS)).status_code == 200


async def test_nobody_follows_another_users_job(door: FrontDoor, run: Run) -> None:
    async with door.client(user_id=OTHER_USER) as stranger:
        for reference in ("lisbon", str(run.flow_run_id)):
            assert (await stranger.get(f"/orchestrate/events/{reference}")).status_code == 404
    assert not await door.is_followed(run)


@pytest.mark.parametrize("seen", ["x", "1", "1-", "1-2-3", "9" * 20 + "-1", "$"])
async def test_malformed_event_id_is_named(client: httpx.AsyncClient, run: Run, seen: str) -> None:
    reply = await client.get(EVENTS, headers={"Last-Event-ID": seen})
    assert run.job.run_id == "lisbon"
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


async def test_stream_of_changes_is_short_and_ends(door: FrontDoor, run: Run) -> None:
    for step in range(150):
        await write(door, run, Stage.MERGE, step / 150)
    key = names.changes_key(str(run.job.job_id))
    assert await door.redis.xlen(key) == 100
    assert 0 < await door.redis.ttl(key) <= 24 * 3600
