"""The front door as a process, with a real Redis, a real Prefect server and its slot keeper."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.metrics.definitions import JOBS_CANCELLED, JOBS_ENQUEUED
from tabario.metrics.ledger import MetricsLedger
from tabario.tiers import Tier
from tests.support.front_door_process import FrontDoorProcess, front_door_process
from tests.support.orchestrator import end_all_runs, ensure_deployment, new_user, prefect_client
from tests.support.servers import PrefectServer, RedisServer
from tests.support.waiting import eventually

JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams", "run_id": "lisbon"}


@pytest.fixture(scope="module")
async def prefect(prefect_server: PrefectServer) -> AsyncIterator[httpx.AsyncClient]:
    """Prefect as its operators see it, with our flow deployed."""
    async with prefect_client(prefect_server.api_url) as client:
        await ensure_deployment(client)
        await end_all_runs(client)
        yield client


@pytest.fixture(scope="module")
def door(
    prefect: httpx.AsyncClient,  # noqa: ARG001 - the flow must be deployed
    prefect_server: PrefectServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FrontDoorProcess]:
    with front_door_process(
        tmp_path_factory.mktemp("door"),
        redis_url=f"{redis_server.url[:-1]}7",
        prefect=prefect_server,
        TABARIO_SLOTS_SWEEP="1",
    ) as opened:
        yield opened


@pytest.fixture
async def store(door: FrontDoorProcess) -> AsyncIterator[Redis]:
    async with Redis.from_url(door.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def client(door: FrontDoorProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client(new_user()) as opened:
        yield opened


async def slots_are_free(client: httpx.AsyncClient) -> bool:
    active: list[object] = (await client.get("/orchestrate/slots")).json()["active"]
    return active == []


async def test_cancelled_job_frees_its_slot_and_is_accounted_for(client: httpx.AsyncClient, store: Redis) -> None:
    async def has_settled_the_runs_of_other_tests() -> bool:
        return bool(await store.exists(names.KEEPER_SWEPT_KEY))

    await eventually(has_settled_the_runs_of_other_tests, within=60, what="the keeper has made a whole pass")
    ledger = MetricsLedger(store)
    ((cancelled, _),) = JOBS_CANCELLED.increment().deltas
    ((enqueued, _),) = JOBS_ENQUEUED.increment().deltas
    before = (await ledger.read()).values

    reply = await client.post("/orchestrate/start", json=JOB)
    assert reply.status_code == 202, reply.text
    status = reply.headers["location"]
    assert (await client.get(status)).json()["state"] == "queued"
    refused = await client.post("/orchestrate/start", json={**JOB, "run_id": "porto"})
    assert (refused.status_code, refused.json()["code"]) == (409, "slots_full")
    assert [run["run_id"] for run in refused.json()["active"]] == ["lisbon"]
    assert (await client.post("/orchestrate/cancel/lisbon")).status_code == 202

    async def is_settled() -> bool:
        failure = (await client.get(status)).json()["failure"]
        return failure is not None and failure["code"] == "cancelled"

    await eventually(is_settled, within=20, what="the record says that the job was cancelled")
    assert (await client.post("/orchestrate/start", json={**JOB, "run_id": "porto"})).status_code == 202
    assert (await client.post("/orchestrate/start", json=JOB)).status_code == 409
    after = (await ledger.read()).values
    assert after[cancelled] - before.get(cancelled, 0) == 1
    assert after[enqueued] - before.get(enqueued, 0) == 2
    await client.post("/orchestrate/cancel/porto")


@pytest.mark.parametrize(("tier", "accepted"), [(Tier.STANDARD, 1), (Tier.PREMIUM, 3)])
async def test_parallel_starts_take_exactly_the_slots_of_the_tier(
    door: FrontDoorProcess, tier: Tier, accepted: int
) -> None:
    async with door.client(new_user(), tier=tier) as client:
        bodies = [{**JOB, "run_id": f"run-{number}"} for number in range(8)]
        replies = await asyncio.gather(*(client.post("/orchestrate/start", json=body) for body in bodies))
        assert sorted(reply.status_code for reply in replies) == [202] * accepted + [409] * (8 - accepted)
        for reply in replies:
            if reply.status_code == 202:
                await client.post(f"/orchestrate/cancel/{reply.json()['run_id']}")
        await eventually(lambda: slots_are_free(client), within=20, what="the slots are free")


BAD_INPUT: Final[dict[str, tuple[str, int, str | None]]] = {
    "empty script": (json.dumps({**JOB, "script": ""}), 422, "script"),
    "200 kB script": (json.dumps({**JOB, "script": "word " * 40_000}), 413, None),
    "unknown style": (json.dumps({**JOB, "image_style": "cubism"}), 422, "image_style"),
    "impossible size": (json.dumps({**JOB, "image_width": 7, "image_height": 8}), 422, "image_width"),
    "unknown language": (json.dumps({**JOB, "language": "tlh"}), 422, "language"),
    "broken JSON": ('{"script": ', 400, None),
    "wrong type": (json.dumps({**JOB, "script": 7}), 422, "script"),
    "extra field": (json.dumps({**JOB, "tier": "premium"}), 422, "tier"),
}


async def what_exists(prefect: httpx.AsyncClient, store: Redis, user_id: str) -> dict[str, object]:
    """All that a start could leave behind. The keeper's own keys come and go with the jobs of other tests."""
    limit = names.slot_limit(user_id)
    claims = await store.zrange(names.CLAIMS_KEY, 0, -1)
    return {
        "runs": (await prefect.post("/flow_runs/count", json={})).json(),
        "limit": (await prefect.get(f"/v2/concurrency_limits/{limit}")).status_code,
        "claims": [claim for claim in map(str, claims) if claim.startswith(limit)],
        "records": {*map(str, await store.keys(names.record_key("*")))},
        "references": {*map(str, await store.keys(names.run_reference_key(user_id, "*")))},
    }


@pytest.mark.parametrize(("body", "status", "field"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
async def test_bad_input_creates_nothing(  # noqa: PLR0913, PLR0917 - fixtures and a row of the table
    door: FrontDoorProcess, prefect: httpx.AsyncClient, store: Redis, body: str, status: int, field: str | None
) -> None:
    user_id = new_user()
    before, waiting = await what_exists(prefect, store, user_id), await store.lrange(names.QUEUE_KEY, 0, -1)
    async with door.client(user_id) as client:
        reply = await client.post("/orchestrate/start", content=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    if field is not None:
        assert field in [error["field"] for error in reply.json()["errors"]]
    assert await what_exists(prefect, store, user_id) == before
    assert set(await store.lrange(names.QUEUE_KEY, 0, -1)) <= set(waiting)


async def test_nobody_reaches_another_users_job(door: FrontDoorProcess, client: httpx.AsyncClient) -> None:
    started = (await client.post("/orchestrate/start", json=JOB)).json()
    async with door.client(new_user()) as stranger:
        for reference in (started["run_id"], started["flow_run_id"], started["workflow_id"]):
            for method, path in (("GET", "status"), ("POST", "cancel"), ("GET", "video"), ("HEAD", "video")):
                reply = await stranger.request(method, f"/orchestrate/{path}/{reference}")
                assert reply.status_code in (404, 422)
        assert (await stranger.get("/orchestrate/runs")).json()["runs"] == []
        assert (await stranger.get("/orchestrate/slots")).json()["active"] == []
    assert (await client.get("/orchestrate/status/lisbon")).json()["state"] == "queued"
    await client.post("/orchestrate/cancel/lisbon")


async def test_jobs_are_listed_page_by_page(door: FrontDoorProcess) -> None:
    async with door.client(new_user(), tier=Tier.PREMIUM) as client:
        for name in ("a", "b", "c"):
            assert (await client.post("/orchestrate/start", json={**JOB, "run_id": name})).status_code == 202
        seen, cursor = [], ""
        while True:
            page = (await client.get("/orchestrate/runs", params={"limit": 2, "cursor": cursor})).json()
            seen += [run["run_id"] for run in page["runs"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert seen == ["c", "b", "a"]
        bad = await client.get("/orchestrate/runs", params={"cursor": "nonsense"})
        assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "cursor")
        for name in seen:
            await client.post(f"/orchestrate/cancel/{name}")


def send(door: FrontDoorProcess, request: bytes) -> bytes:
    """What the server answers to raw bytes before it hangs up."""
    address = urlsplit(door.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it need not listen to the end
            connection.sendall(request)
        try:
            return connection.recv(65_536)
        except ConnectionResetError:
            return b""


def test_header_of_a_megabyte_is_refused(door: FrontDoorProcess) -> None:
    answer = send(door, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"x" * 1_000_000)
    assert b" 200 " not in answer
    assert httpx.get(f"{door.url}/health").status_code == 200


def test_declared_body_over_the_cap_is_refused_unread(door: FrontDoorProcess) -> None:
    client = door.client(new_user())
    head = (
        f"POST /orchestrate/start HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 999999999\r\n\r\n"
    )
    answer = send(door, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


async def test_token_appears_nowhere(
    door: FrontDoorProcess, prefect_server: PrefectServer, client: httpx.AsyncClient
) -> None:
    signature = client.headers["authorization"].rsplit(".", 1)[1]
    await client.post("/orchestrate/start", json=JOB)
    await client.get("/orchestrate/status/lisbon")
    await client.get("/orchestrate/video/lisbon")
    await client.post("/orchestrate/cancel/lisbon")
    kept = [door.log.read_bytes(), *(path.read_bytes() for path in prefect_server.home.glob("prefect.db*"))]
    assert not any(signature.encode() in text for text in kept)
    async with Redis.from_url(door.redis_url) as raw:
        await raw.config_set("rdbcompression", "no")  # or a dump might hide it
        dumps = [await raw.dump(key) for key in await raw.keys("*")]
    assert len(dumps) > 2
    assert not any(signature.encode() in (dump or b"") for dump in dumps)


def test_logs_are_json_with_the_requests_id(door: FrontDoorProcess) -> None:
    httpx.get(f"{door.url}/orchestrate/slots", headers={"X-Request-ID": "look-for-me"})
    lines = [json.loads(line) for line in door.log.read_text().splitlines()]
    [line] = [
        line for line in lines if line.get("request_id") == "look-for-me" and line["logger"] == "api.authentication"
    ]
    assert line["level"] == "info"
