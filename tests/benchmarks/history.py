"""A Prefect server with a past: finished runs and users' limits, written into its database directly."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx

from tabario import names
from tabario.tiers import Tier
from tests.support.orchestrator import ensure_deployment, make_job, new_user
from tests.support.servers import PrefectServer, prefect_running, redis_running

Row = dict[str, Any]


@dataclass(frozen=True)
class Past:
    """How much has happened."""

    runs: int
    users: int


@asynccontextmanager
async def prefect_with(past: Past, directory: Path) -> AsyncIterator[PrefectServer]:
    """A server whose past is in its database when the block begins."""
    await anyio.Path(directory).mkdir()
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_running(directory))
        server = stack.enter_context(prefect_running(directory, redis))
        async with httpx.AsyncClient(base_url=server.api_url, timeout=60) as http:
            await _one_of_each(http)
        await anyio.to_thread.run_sync(_multiply, server.database, past)
        yield server


async def _one_of_each(http: httpx.AsyncClient) -> None:
    """A finished run and a user's limit, as Prefect writes them."""
    deployment = await ensure_deployment(http)
    job = make_job(new_user())
    body = {
        "name": names.workflow_id(job.user_id, job.run_id),
        "parameters": {"job": job.model_dump(mode="json")},
        "tags": [names.user_tag(job.user_id), names.tier_tag(job.tier)],
        "state": {"type": "SCHEDULED"},
    }
    run = (await http.post(f"/deployments/{deployment}/create_flow_run", json=body)).raise_for_status().json()
    for state in ("RUNNING", "COMPLETED"):
        change = {"state": {"type": state}, "force": True}
        (await http.post(f"/flow_runs/{run['id']}/set_state", json=change)).raise_for_status()
    limit = {"name": names.slot_limit(job.user_id), "limit": 1}
    (await http.post("/v2/concurrency_limits/", json=limit)).raise_for_status()


def _multiply(database: Path, past: Past) -> None:
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        run, state, limit = (
            _last(connection, table) for table in ("flow_run", "flow_run_state", "concurrency_limit_v2")
        )
        runs = [run | {"id": str(uuid4()), "state_id": str(uuid4()), "name": f"run-{n}"} for n in range(1, past.runs)]
        _insert(connection, "flow_run_state", (_end_of(one, state) for one in runs))
        _insert(connection, "flow_run", runs)
        _insert(connection, "concurrency_limit_v2", (_limit(limit, number) for number in range(1, past.users)))


def _last(connection: sqlite3.Connection, table: str) -> Row:
    """The youngest row; of the states of a run that is its end."""
    found = connection.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1")  # noqa: S608 - our own names
    return dict(zip((column[0] for column in found.description), found.fetchone(), strict=True))


def _end_of(run: Row, state: Row) -> Row:
    details = json.loads(state["state_details"]) | {"flow_run_id": run["id"]}
    return state | {"id": run["state_id"], "flow_run_id": run["id"], "state_details": json.dumps(details)}


def _limit(limit: Row, number: int) -> Row:
    tier = Tier.PREMIUM if number % 4 == 0 else Tier.STANDARD
    slots = 3 if tier is Tier.PREMIUM else 1
    return limit | {
        "id": str(uuid4()),
        "name": names.slot_limit(new_user()),
        "limit": slots,
        "active_slots": number % 2,
    }


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[Row] | list[Row]) -> None:
    for row in rows:
        columns, places = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", tuple(row.values()))  # noqa: S608 - Prefect's names
