"""A job's way through the front door, from the start to its film, and what other users see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
from redis.asyncio import Redis

from tabario.clients.prefect import NotDone, OutcomeUnknown, Run, RunState
from tabario.errors import RetryLater
from tabario.metrics.definitions import (
    BYTES_STORED,
    CHARACTERS_SPOKEN,
    GPU_SECONDS,
    JOB_TOTAL_SECONDS,
    JOBS_CANCELLED,
    JOBS_COMPLETED,
    JOBS_ENQUEUED,
    JOBS_FAILED,
    PICTURES_PAINTED,
    STAGE_SECONDS,
    SUBMISSIONS_REJECTED,
)
from tabario.metrics.series import Observation
from tabario.records import Companion, Film, JobFailure, JobRecord, Receipt, Stage
from tabario.tiers import Tier
from tests.support.front_door import FrontDoor, front_door
from tests.support.runs import new_run
from tests.support.tokens import OTHER_USER, USER

JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams", "run_id": "lisbon"}
FILM: Final = bytes(range(256)) * 4


@pytest.fixture
async def door(redis: Redis, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(redis, tmp_path, public_url="https://films.example/") as opened:
        yield opened


@pytest.fixture
async def client(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as opened:
        yield opened


@pytest.fixture
async def stranger(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client(user_id=OTHER_USER) as opened:
        yield opened


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


# --- the film ---


async def test_whole_film_is_sent(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.get("/orchestrate/video/lisbon")
    assert (reply.status_code, reply.content) == (200, FILM)
    assert reply.headers["content-type"] == "video/mp4"
    assert reply.headers["content-disposition"] == 'inline; filename="lisbon.mp4"'
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["cache-control"] == "private, no-cache"


async def test_range_of_the_film_is_sent(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.get("/orchestrate/video/lisbon", headers={"Range": "bytes=10-19"})
    assert (reply.status_code, reply.content) == (206, FILM[10:20])
    assert reply.headers["content-range"] == "bytes 10-19/1024"
    assert reply.headers["content-length"] == "10"


async def test_range_beyond_the_film_is_416(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.get("/orchestrate/video/lisbon", headers={"Range": "bytes=1024-"})
    assert (reply.status_code, reply.json()["code"]) == (416, "range_not_satisfiable")
    assert reply.headers["content-range"] == "bytes */1024"


async def test_film_is_sent_again_only_when_it_changed(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    etag = (await client.head("/orchestrate/video/lisbon")).headers["etag"]

    async def fetch(**headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.get("/orchestrate/video/lisbon", headers=named)

    assert (await fetch(If_None_Match=f'"other", {etag}')).status_code == 304
    assert (await fetch(If_None_Match='"other"')).status_code == 200
    assert (await fetch(If_Range=etag, Range="bytes=0-9")).status_code == 206
    assert (await fetch(If_Range='"other"', Range="bytes=0-9")).status_code == 200


async def test_head_tells_the_size_without_the_film(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.head("/orchestrate/video/lisbon")
    assert (reply.status_code, reply.headers["content-length"], reply.content) == (200, "1024", b"")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("poster.jpg", "image/jpeg"),
        ("subtitles.srt", "application/x-subrip"),
        ("subtitles.vtt", "text/vtt; charset=utf-8"),
    ],
)
async def test_files_that_go_with_the_film_are_sent_to_its_owner_only(
    door: FrontDoor, client: httpx.AsyncClient, stranger: httpx.AsyncClient, name: str, kind: str
) -> None:
    await filmed(door, client)
    reply = await client.get(f"/orchestrate/video/lisbon/{name}")
    assert (reply.status_code, reply.headers["content-type"], reply.text) == (200, kind, f"the {name}")
    assert (await stranger.get(f"/orchestrate/video/lisbon/{name}")).status_code == 404


async def test_a_job_without_a_film_has_no_files_and_other_names_are_refused(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    await started(door, client)
    assert (await client.get("/orchestrate/video/lisbon/poster.jpg")).status_code == 404
    assert (await client.get("/orchestrate/video/lisbon/film.part")).status_code == 422


async def test_a_script_that_no_font_can_show_is_refused(client: httpx.AsyncClient) -> None:
    reply = await start(client, script="Trams are called 電車 there.")
    assert reply.status_code == 422
    [problem] = reply.json()["errors"]
    assert problem["field"] == "script"
    assert "U+8ECA" in problem["message"]
    assert "fonts-noto-cjk" in problem["message"]


async def test_music_that_is_not_there_is_refused(tmp_path: Path, client: httpx.AsyncClient) -> None:
    reply = await start(client, music="waltz")
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "music")
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "waltz.flac").write_bytes(b"")
    assert (await start(client, music="tango")).json()["errors"][0]["message"].endswith("use one of: waltz.")
    assert (await start(client, music="waltz")).status_code == 202


async def test_film_of_a_running_job_is_not_ready(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await started(door, client)
    reply = await client.get("/orchestrate/video/lisbon")
    assert (reply.status_code, reply.json()["code"]) == (409, "film_not_ready")


async def test_failed_job_has_no_film(door: FrontDoor, client: httpx.AsyncClient) -> None:
    door.prefect.move(await started(door, client), RunState.FAILED)
    assert (await client.get("/orchestrate/video/lisbon")).status_code == 404


# --- what others see ---

ROUTES_OF_A_RUN: Final = [("GET", "status"), ("GET", "events"), ("POST", "cancel"), ("GET", "video"), ("HEAD", "video")]


@pytest.mark.parametrize(("method", "path"), ROUTES_OF_A_RUN)
async def test_job_of_another_user_is_not_there(
    door: FrontDoor, client: httpx.AsyncClient, stranger: httpx.AsyncClient, method: str, path: str
) -> None:
    run = await filmed(door, client)
    for reference in ("lisbon", str(run.flow_run_id), str(run.job.job_id)):
        foreign = await stranger.request(method, f"/orchestrate/{path}/{reference}")
        missing = await stranger.request(method, f"/orchestrate/{path}/never-was")
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


# --- the end ---


async def test_completed_job_is_counted_once(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = await filmed(door, client)
    await door.outcomes.note(run)
    await door.outcomes.note(run)
    assert await count(door, JOBS_COMPLETED.increment()) == 1
    assert await count(door, JOB_TOTAL_SECONDS.observe(0)) == 1
    record = await door.records.read(run.job.job_id)
    assert record is not None
    assert record.failure is None


async def test_what_a_job_used_is_in_its_status_and_counted_once_by_tier(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await filmed(door, client)
    record = await door.records.read(run.job.job_id)
    assert record is not None
    used = Receipt(characters_spoken=120, gpu_seconds=4.5, pictures_painted=3, bytes_stored=1024).plus_seconds(
        Stage.IMAGES, 7.5
    )
    await door.records.write(record.model_copy(update={"receipt": used}))

    await door.outcomes.note(run)
    await door.outcomes.note(run)

    shown = (await client.get("/orchestrate/status/lisbon")).json()["receipt"]
    assert shown["stage_seconds"] == {"images": 7.5}
    assert (shown["characters_spoken"], shown["pictures_painted"], shown["bytes_stored"]) == (120, 3, 1024)
    assert await count(door, CHARACTERS_SPOKEN.increment(tier="standard")) == 120
    assert await count(door, GPU_SECONDS.increment(tier="standard")) == 4.5
    assert await count(door, PICTURES_PAINTED.increment(tier="standard")) == 3
    assert await count(door, BYTES_STORED.increment(tier="standard")) == 1024
    assert await count(door, STAGE_SECONDS.increment(tier="standard", stage="images")) == 7.5


async def test_job_is_counted_as_accepted_once_even_when_the_front_door_died_before_it_could(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await filmed(door, client)
    await door.outcomes.note(run)
    assert await count(door, JOBS_ENQUEUED.increment()) == 1
    uncounted = door.prefect.move(new_run(run.job.model_copy(update={"job_id": uuid4()})), RunState.CANCELLED)
    await door.outcomes.note(uncounted)
    assert await count(door, JOBS_ENQUEUED.increment()) == 2


@pytest.mark.parametrize(
    ("state", "code", "reason"), [(RunState.CRASHED, "crashed", "crashed"), (RunState.FAILED, "failed", "error")]
)
async def test_failure_that_the_flow_could_not_write_is_noted(
    door: FrontDoor, client: httpx.AsyncClient, state: RunState, code: str, reason: str
) -> None:
    run = await started(door, client)
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.IMAGES, progress=0.5, seconds_left=9))
    await door.outcomes.note(door.prefect.move(run, state))
    body = (await client.get("/orchestrate/status/lisbon")).json()
    assert (body["failure"]["stage"], body["failure"]["code"]) == ("images", code)
    assert body["message"] == body["failure"]["message"]
    assert await count(door, JOBS_FAILED.increment(reason=reason)) == 1
    assert await door.queue.depth() == 0


async def test_failure_that_the_flow_wrote_stands(door: FrontDoor, client: httpx.AsyncClient) -> None:
    run = await started(door, client)
    failure = JobFailure(
        stage=Stage.IMAGES, code="image_timed_out", reason="timeout", message="Picture 3 took too long."
    )
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.IMAGES, failure=failure))
    await door.outcomes.note(door.prefect.move(run, RunState.FAILED))
    record = await door.records.read(run.job.job_id)
    assert record is not None
    assert record.failure == failure
    assert await count(door, JOBS_FAILED.increment(reason="timeout")) == 1


async def test_cancelled_job_counts_neither_as_completed_nor_as_failed(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await started(door, client)
    await door.outcomes.note(door.prefect.move(run, RunState.CANCELLED))
    assert (await client.get("/orchestrate/status/lisbon")).json()["failure"]["code"] == "cancelled"
    assert await count(door, JOBS_CANCELLED.increment()) == 1
    assert await count(door, JOBS_FAILED.increment(reason="error")) == 0
    assert await count(door, JOB_TOTAL_SECONDS.observe(0)) == 0


# --- operation ---


async def test_ready_names_what_is_missing(door: FrontDoor, redis: Redis) -> None:
    assert (await door.anonymous.get("/ready")).status_code == 200
    door.prefect.healthy = False
    await redis.flushdb()  # with it goes the keeper's sign of life
    reply = await door.anonymous.get("/ready")
    assert (reply.status_code, reply.json()["missing"]) == (503, ["slot keeper", "prefect"])
    assert "http" not in reply.json()["detail"]


async def test_health_needs_nothing(door: FrontDoor) -> None:
    door.prefect.healthy = False
    assert (await door.anonymous.get("/health")).json() == {"status": "ok"}


async def test_metrics_show_the_process(door: FrontDoor) -> None:
    assert "process_start_time_seconds" in (await door.anonymous.get("/metrics")).text


async def test_no_key_lives_for_ever_but_the_queue_and_the_totals(
    door: FrontDoor, client: httpx.AsyncClient, redis: Redis
) -> None:
    await started(door, client)
    lasting = {key for key in await redis.keys("*") if await redis.ttl(key) == -1}
    assert lasting == {"video_orchestrator:queue", "video_orchestrator:metrics"}
