"""A job's way through the front door, and what other users see of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
import pytest
from redis.asyncio import Redis

from api.references import RunReferences
from tabario.clients.prefect import NotDone, OutcomeUnknown, RunState
from tabario.errors import RetryLater
from tabario.metrics.definitions import (
    JOBS_ENQUEUED,
    SUBMISSIONS_REJECTED,
)
from tabario.records import JobRecord, Stage
from tabario.tiers import Tier
from tests.support.front_door import FrontDoor, front_door
from tests.support.submitted import FILM, count, filmed, start, started
from tests.support.tokens import USER

# --- start ---


async def test_start_says_where_to_follow_the_job(client: httpx.AsyncClient) -> None:
    reply = await start(client)
    assert reply.status_code == 202
    assert reply.headers["location"] == "/orchestrate/status/lisbon"
    assert int(reply.headers["retry-after"]) > 0
    body = reply.json()
    assert (body["run_id"], body["workflow_id"]) == ("lisbon", f"tabario-user-{USER}-lisbon")
    assert (await client.get(reply.headers["location"])).json()["flow_run_id"] == body["flow_run_id"]


async def test_started_job_waits_in_the_queue_and_is_counted(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = await started(door, client)
    assert await door.queue.depth() == 1
    record = await door.records.read(run.job.job_id)
    assert record is not None
    assert record.stage is Stage.QUEUED
    assert await count(door, JOBS_ENQUEUED.increment()) == 1


async def test_job_carries_the_callers_tier_and_no_token(door: FrontDoor) -> None:
    async with door.client(tier=Tier.PREMIUM) as client:
        run = await started(door, client)
    assert run.job.tier is Tier.PREMIUM
    assert "eyJ" not in run.model_dump_json()


async def test_run_id_is_made_up_when_absent(client: httpx.AsyncClient) -> None:
    reply = await client.post("/orchestrate/start", json={"script": "Trams.", "caption": "Trams", "user_id": USER})
    assert reply.status_code == 202
    assert (await client.get(f"/orchestrate/status/{reply.json()['run_id']}")).status_code == 200


async def test_run_id_is_used_once_per_user(door: FrontDoor, client: httpx.AsyncClient, redis: Redis) -> None:
    run = await started(door, client)
    door.prefect.move(run, RunState.COMPLETED)
    assert (await start(client)).json()["code"] == "run_id_taken"
    await redis.delete(*await redis.keys("video_orchestrator:run:*"))  # as if the reservation had expired
    assert (await start(client)).json()["code"] == "run_id_taken"


async def test_run_id_of_another_user_is_free(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    assert [(await start(one)).status_code for one in (client, stranger)] == [202, 202]


async def test_one_of_many_starts_under_one_run_id_succeeds(door: FrontDoor) -> None:
    async with door.client(tier=Tier.PREMIUM) as client:
        replies = await asyncio.gather(*(start(client) for _ in range(10)))
    assert sorted(reply.status_code for reply in replies) == [202] + [409] * 9
    assert len(door.prefect.runs) == 1


async def test_second_job_of_a_standard_user_is_refused_and_told_who_holds_the_slot(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await started(door, client)
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.IMAGES, progress=0.5))
    reply = await start(client, run_id="porto")
    body = reply.json()
    assert (reply.status_code, body["code"], body["limit"]) == (409, "slots_full", 1)
    assert body["active"] == [{"run_id": "lisbon", "stage": "images", "progress": 0.5, "started_at": None}]
    assert int(reply.headers["retry-after"]) > 0
    assert await count(door, SUBMISSIONS_REJECTED.increment(tier="standard", reason="slots_full")) == 1


async def test_crashed_job_that_starts_over_is_shown_as_waiting_and_holds_its_slot(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = door.prefect.move(await started(door, client), RunState.CRASHED)
    status = (await client.get("/orchestrate/status/lisbon")).json()
    assert (status["state"], status["ended_at"], status["message"]) == ("queued", None, "Starting over after a crash.")
    assert [held["run_id"] for held in (await client.get("/orchestrate/slots")).json()["active"]] == ["lisbon"]
    assert [held["run_id"] for held in (await start(client, run_id="porto")).json()["active"]] == ["lisbon"]
    await door.outcomes.note(run)  # as the keeper does when it gives up
    assert (await client.get("/orchestrate/status/lisbon")).json()["state"] == "crashed"
    assert (await client.get("/orchestrate/slots")).json()["active"] == []


async def test_crashed_job_that_starts_over_can_be_cancelled_and_one_that_gave_up_cannot(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = door.prefect.move(await started(door, client), RunState.CRASHED)
    assert (await client.post("/orchestrate/cancel/lisbon")).status_code == 202
    assert (await client.get("/orchestrate/status/lisbon")).json()["state"] == "cancelled"
    run = door.prefect.move(run, RunState.CRASHED)
    await door.outcomes.note(run)  # as the keeper does when it gives up
    refused = await client.post("/orchestrate/cancel/lisbon")
    assert (refused.status_code, refused.json()["code"]) == (409, "run_ended")


async def test_refused_run_id_can_be_used_again(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await started(door, client)
    assert (await start(client, run_id="porto")).status_code == 409
    door.admission.held.clear()
    assert (await start(client, run_id="porto")).status_code == 202


async def test_fourth_job_of_a_premium_user_is_refused(door: FrontDoor) -> None:
    async with door.client(tier=Tier.PREMIUM) as client:
        replies = [await start(client, run_id=f"run-{number}") for number in range(4)]
        assert [reply.status_code for reply in replies] == [202, 202, 202, 409]
        slots = (await client.get("/orchestrate/slots")).json()
    assert [run["run_id"] for run in slots["active"]] == ["run-0", "run-1", "run-2"]
    assert slots["limit"] == 3


async def test_start_that_certainly_failed_leaves_nothing_behind(
    door: FrontDoor, client: httpx.AsyncClient, redis: Redis
) -> None:
    door.prefect.failing = NotDone("The orchestrator cannot be reached.", retry_after=7)
    reply = await start(client)
    assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (503, "unavailable", "7")
    assert door.admission.held == {}
    assert await door.queue.depth() == 0
    assert await redis.keys("video_orchestrator:job:*") == []
    assert (await start(client)).status_code == 202


async def test_start_of_unknown_outcome_keeps_the_slot_and_the_name(door: FrontDoor, client: httpx.AsyncClient) -> None:
    door.prefect.failing = OutcomeUnknown("The orchestrator did not answer.")
    assert (await start(client)).status_code == 503
    assert len(door.admission.held) == 1
    assert await door.queue.depth() == 0
    assert (await start(client)).json()["code"] == "run_id_taken"


@pytest.mark.parametrize("broken_off", [asyncio.CancelledError(), ValueError("not JSON")])
async def test_start_that_breaks_off_while_the_run_is_made_keeps_the_slot(
    door: FrontDoor, client: httpx.AsyncClient, broken_off: BaseException
) -> None:
    door.prefect.failing = broken_off
    with suppress(asyncio.CancelledError, ValueError):  # the door ends the request as it stops
        await start(client)
    assert len(door.admission.held) == 1
    assert len(await door.redis.keys("video_orchestrator:job:*")) == 1


async def test_run_id_of_a_start_that_was_broken_off_is_busy_until_its_reservation_ends(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await started(door, client)
    door.prefect.runs.clear()  # as if the front door had died before it made the run
    reply = await start(client)
    assert (reply.status_code, reply.json()["code"]) == (409, "in_progress")
    assert int(reply.headers["retry-after"]) > 0
    await RunReferences(door.redis).release(run.job)
    door.admission.held.clear()
    assert (await start(client)).status_code == 202


async def test_outage_of_the_slots_is_503(door: FrontDoor, client: httpx.AsyncClient) -> None:
    door.admission.failing = RetryLater("The slots cannot be checked just now.", retry_after=10)
    reply = await start(client)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "10")
    assert await count(door, SUBMISSIONS_REJECTED.increment(tier="standard", reason="unavailable")) == 1


async def test_outage_of_redis_is_503_without_its_address(tmp_path: Path) -> None:
    lost = Redis.from_url("redis://:hunter2@127.0.0.1:1/0", decode_responses=True, retry=None)
    async with front_door(lost, tmp_path, gate_open=False) as door, door.client() as client:
        reply = await start(client)
        readiness = await door.anonymous.get("/ready")
    assert (reply.status_code, reply.json()["code"]) == (503, "unavailable")
    assert "127.0.0.1" not in reply.text
    assert readiness.json()["missing"] == ["redis", "slot keeper"]


# --- follow ---


async def test_status_joins_the_run_with_its_record(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = door.prefect.move(await started(door, client), RunState.RUNNING)
    record = JobRecord(
        job_id=run.job.job_id,
        stage=Stage.IMAGES,
        progress=0.4,
        message="Painting scene 3 of 7.",
        seconds_left=48.0,
        scenes_total=7,
        scenes_done=2,
    )
    await door.records.write(record)
    body = (await client.get("/orchestrate/status/lisbon")).json()
    shown = {name: body[name] for name in ("state", "stage", "progress", "message", "seconds_left", "failure", "film")}
    assert shown == {
        "state": "running",
        "stage": "images",
        "progress": 0.4,
        "message": "Painting scene 3 of 7.",
        "seconds_left": 48.0,
        "failure": None,
        "film": None,
    }
    assert (body["scenes_done"], body["scenes_total"]) == (2, 7)


async def test_status_of_a_finished_job_points_to_the_film(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    film = (await client.get("/orchestrate/status/lisbon")).json()["film"]
    assert film == {
        "url": "https://films.example/orchestrate/video/lisbon",
        "poster_url": "https://films.example/orchestrate/video/lisbon/poster.jpg",
        "srt_url": "https://films.example/orchestrate/video/lisbon/subtitles.srt",
        "vtt_url": "https://films.example/orchestrate/video/lisbon/subtitles.vtt",
        "duration": 3.5,
        "bytes": len(FILM),
        "width": 720,
        "height": 1280,
    }


async def test_job_is_found_by_the_id_of_its_flow_run(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = await started(door, client)
    assert (await client.get(f"/orchestrate/status/{run.flow_run_id}")).json()["run_id"] == "lisbon"


async def test_job_whose_record_expired_is_still_shown(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = door.prefect.move(await started(door, client), RunState.COMPLETED)
    await door.records.delete(run.job.job_id)
    body = (await client.get("/orchestrate/status/lisbon")).json()
    assert (body["state"], body["stage"], body["progress"]) == ("completed", "done", 1.0)


async def test_jobs_are_listed_newest_first_in_pages(door: FrontDoor) -> None:
    async with door.client(tier=Tier.PREMIUM) as client:
        for number in range(3):
            await started(door, client, run_id=f"run-{number}")
        first = (await client.get("/orchestrate/runs", params={"limit": 2})).json()
        second = (await client.get("/orchestrate/runs", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [run["run_id"] for run in first["runs"]] == ["run-2", "run-1"]
    assert [run["run_id"] for run in second["runs"]] == ["run-0"]
    assert second["next_cursor"] is None


# --- cancel ---


async def test_job_can_be_cancelled(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = await started(door, client)
    assert (await client.post("/orchestrate/cancel/lisbon")).status_code == 202
    assert door.prefect.runs[run.flow_run_id].state is RunState.CANCELLING


async def test_job_that_has_ended_cannot_be_cancelled(door: FrontDoor, client: httpx.AsyncClient) -> None:
    door.prefect.move(await started(door, client), RunState.COMPLETED)
    reply = await client.post("/orchestrate/cancel/lisbon")
    assert (reply.status_code, reply.json()["code"]) == (409, "run_ended")


# --- what others see ---


ROUTES_OF_A_RUN: Final = [
    ("GET", "/orchestrate/status/{run}"),
    ("GET", "/orchestrate/events/{run}"),
    ("POST", "/orchestrate/cancel/{run}"),
    ("GET", "/orchestrate/video/{run}"),
    ("HEAD", "/orchestrate/video/{run}"),
    ("GET", "/orchestrate/video/{run}/{file}"),
    ("POST", "/orchestrate/link/{run}"),
    ("POST", "/orchestrate/runs/{run}/scenes/{scene}/regenerate"),
]


async def test_every_documented_route_of_a_run_is_tried_by_a_stranger(door: FrontDoor) -> None:
    document = (await door.anonymous.get("/openapi.json")).json()
    assert {path for path in document["paths"] if "{run}" in path} == {path for _, path in ROUTES_OF_A_RUN}


@pytest.mark.parametrize(("method", "path"), ROUTES_OF_A_RUN)
async def test_job_of_another_user_is_not_there(
    door: FrontDoor, client: httpx.AsyncClient, stranger: httpx.AsyncClient, method: str, path: str
) -> None:
    run = await filmed(door, client)
    for reference in ("lisbon", str(run.flow_run_id), str(run.job.job_id)):
        foreign, missing = [
            await stranger.request(method, path.format(run=one, file="poster.jpg", scene=1))
            for one in (reference, "never-was")
        ]
        assert foreign.status_code == missing.status_code == 404
        assert foreign.text.replace(reference, "") == missing.text.replace("never-was", "")
    assert door.prefect.runs[run.flow_run_id].state is RunState.COMPLETED


async def test_lists_and_slots_show_nobody_elses_jobs(
    door: FrontDoor, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await started(door, client)
    assert (await stranger.get("/orchestrate/runs")).json()["runs"] == []
    assert (await stranger.get("/orchestrate/slots")).json()["active"] == []


async def test_full_slots_are_each_users_own(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    await start(client)
    assert (await start(client, run_id="porto")).status_code == 409
    assert (await start(stranger, run_id="porto")).status_code == 202
