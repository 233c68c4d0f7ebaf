"""Webhooks from two front doors as processes, and the command line that looks after them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.front_door_process import FrontDoorProcess, front_door_process
from tests.support.orchestrator import ensure_deployment, new_user, prefect_client
from tests.support.receivers import Receiver, receiving
from tests.support.servers import PrefectServer, RedisServer, prefect_running
from tests.support.waiting import eventually

SECRET: Final = f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"
JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams"}


@pytest.fixture(scope="module")
def app() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[PrefectServer]:
    """A Prefect server of its own: the keepers here would settle, and tell the app of, what other tests just ended."""
    with prefect_running(tmp_path_factory.mktemp("prefect"), redis_server) as server:
        yield server


@pytest.fixture(scope="module")
async def prefect(prefect_server: PrefectServer) -> AsyncIterator[httpx.AsyncClient]:
    async with prefect_client(prefect_server.api_url) as client:
        await ensure_deployment(client)
        yield client


@pytest.fixture(scope="module")
def doors(
    prefect: httpx.AsyncClient,  # noqa: ARG001 - the flow must be deployed
    prefect_server: PrefectServer,
    redis_server: RedisServer,
    app: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[FrontDoorProcess]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                front_door_process(
                    tmp_path_factory.mktemp("door"),
                    redis_url=f"{redis_server.url[:-1]}8",
                    prefect=prefect_server,
                    TABARIO_SLOTS_SWEEP="1",
                    TABARIO_WEBHOOK_URL=app.url,
                    TABARIO_WEBHOOK_SECRET=SECRET,
                )
            )
            for _ in range(2)
        ]


@pytest.fixture
async def client(doors: list[FrontDoorProcess]) -> AsyncIterator[httpx.AsyncClient]:
    async with doors[0].client(new_user()) as opened:
        yield opened


async def start(client: httpx.AsyncClient, run_id: str) -> str:
    reply = await client.post("/orchestrate/start", json={**JOB, "run_id": run_id})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["flow_run_id"])


async def end(prefect: httpx.AsyncClient, flow_run_id: str, state: str) -> None:
    body = {"state": {"type": state, "message": "moved by a test"}, "force": True}
    (await prefect.post(f"/flow_runs/{flow_run_id}/set_state", json=body)).raise_for_status()


async def told(app: Receiver, run_id: str, *, times: int = 1) -> list[dict[str, Any]]:
    def about() -> list[dict[str, Any]]:
        bodies = [request.verified(SECRET) for request in list(app.requests)]
        return [body for body in bodies if body["data"]["run_id"] == run_id]

    async def it_was() -> bool:
        return len(about()) >= times

    await eventually(it_was, within=60, what=f"the app was told of {run_id}")
    return about()


def tabario(door: FrontDoorProcess, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tabario.cli", "webhooks", *words],
        env={**os.environ, "TABARIO_REDIS_URL": door.redis_url, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_when_the_app_is_told_that_a_job_is_over_the_slot_is_free(
    app: Receiver, client: httpx.AsyncClient, prefect: httpx.AsyncClient
) -> None:
    first = await start(client, "lisbon")
    refused = await client.post("/orchestrate/start", json=JOB)
    assert refused.status_code == 409

    await end(prefect, first, "COMPLETED")

    [body] = await told(app, "lisbon")
    assert body["event"] == "job_completed"
    await start(client, "porto")


async def test_an_app_that_refuses_webhooks_changes_nothing_about_the_job(
    app: Receiver, client: httpx.AsyncClient, prefect: httpx.AsyncClient
) -> None:
    app.answer(500)
    flow_run_id = await start(client, "braga")
    await end(prefect, flow_run_id, "COMPLETED")

    await told(app, "braga", times=2)

    assert (await client.get("/orchestrate/status/braga")).json()["state"] == "completed"
    assert (await client.get("/orchestrate/slots")).json()["active"] == []


async def test_a_cancelled_job_is_told_and_can_be_replayed_from_the_command_line(
    app: Receiver, client: httpx.AsyncClient, doors: list[FrontDoorProcess]
) -> None:
    await start(client, "faro")
    (await client.post("/orchestrate/cancel/faro")).raise_for_status()
    [body] = await told(app, "faro")
    assert (body["event"], body["data"]["status"]) == ("job_failed", "cancelled")

    def listed() -> dict[str, Any]:
        entries: list[dict[str, Any]] = json.loads(tabario(doors[0], "list", "--json").stdout)
        return next(entry for entry in entries if entry["run_id"] == "faro")

    async def it_is_on_record() -> bool:
        return bool(listed()["delivery"] == "delivered")

    await eventually(it_is_on_record, within=20, what="the delivery is on record")
    assert listed()["id"] in tabario(doors[0], "list").stdout
    assert tabario(doors[0], "replay", listed()["id"]).stdout.strip() == f"{listed()['id']} is due now."
    assert len(await told(app, "faro", times=2)) == 2
    shown = json.loads(tabario(doors[0], "show", listed()["id"]).stdout)
    assert shown["body"] == body

    unknown = tabario(doors[0], "show", "msg_none")
    assert unknown.returncode == 1
    assert "no such webhook" in unknown.stderr


async def test_the_command_line_says_so_when_redis_is_away(tmp_path: Path) -> None:
    away = FrontDoorProcess(url="", redis_url="redis://:secret@127.0.0.1:1/0", log=tmp_path)
    done = tabario(away, "list")
    assert done.returncode == 1
    assert "Redis does not answer" in done.stderr
    assert "secret" not in done.stderr
