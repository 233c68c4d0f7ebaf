"""The Prefect server forgets runs that ended long ago, and no others."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from uuid import UUID

import httpx

from tests.support.orchestrator import ensure_deployment, prefect_client
from tests.support.servers import RedisServer, prefect_running
from tests.support.waiting import eventually


async def ended_run(http: httpx.AsyncClient, deployment_id: UUID) -> str:
    body = {"state": {"type": "COMPLETED", "message": "made by a test"}}
    created = await http.post(f"/deployments/{deployment_id}/create_flow_run", json={"enforce_parameter_schema": False})
    run_id = str(created.raise_for_status().json()["id"])
    (await http.post(f"/flow_runs/{run_id}/set_state", json={**body, "force": True})).raise_for_status()
    return run_id


async def test_a_run_is_forgotten_thirty_days_after_its_end(redis_server: RedisServer, tmp_path: Path) -> None:
    often = {"PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "1"}
    with prefect_running(tmp_path, redis_server, **often) as server:
        async with prefect_client(server.api_url) as http:
            deployment_id = await ensure_deployment(http)
            old, young = await ended_run(http, deployment_id), await ended_run(http, deployment_id)
            with sqlite3.connect(server.database, timeout=30) as database:
                for run_id, age in ((old, "-31 days"), (young, "-29 days")):
                    database.execute(
                        "UPDATE flow_run SET end_time = strftime('%Y-%m-%d %H:%M:%f', 'now', ?) WHERE id = ?",
                        (age, run_id),
                    )
            database.close()

            async def is_forgotten() -> bool:
                return (await http.get(f"/flow_runs/{old}")).status_code == httpx.codes.NOT_FOUND

            await eventually(is_forgotten, within=90, what="the old run is forgotten")
            assert (await http.get(f"/flow_runs/{young}")).status_code == httpx.codes.OK
