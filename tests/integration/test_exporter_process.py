"""`python -m monitoring` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from redis.asyncio import Redis

from tabario.metrics.definitions import ALL, JOBS_STARTED
from tabario.metrics.ledger import Event, MetricsLedger
from tests.support.exposition import Exposition
from tests.support.servers import RedisServer, free_port, running
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "monitoring"]
NEEDS_PREFECT = {
    "worker_active",
    "video_orchestrator_workers",
    "video_orchestrator_workers_new",
    "video_orchestrator_waiting_runs",
    "video_orchestrator_queue_oldest_age_seconds",
    "video_orchestrator_flow_runs",
    "video_orchestrator_flow_runs_late",
    "video_orchestrator_slots_in_use",
    "video_orchestrator_slots_limit",
}


def environment(redis_url: str, port: int, directory: Path) -> dict[str, str]:
    return {
        "TABARIO_REDIS_URL": redis_url,
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "TABARIO_EXPORTER_PORT": str(port),
        "TABARIO_EXPORTER_POLL_SECONDS": "1",
        "TABARIO_METRICS_DIRECTORY": str(directory / "metrics"),
    }


def wait_for_answers(url: str) -> None:
    def all_sources_were_read() -> bool:
        try:
            return len(httpx.get(f"{url}/health", timeout=5).json()["sources"]) == 5
        except httpx.TransportError:
            return False

    wait_until(all_sources_were_read, within=60, what="the exporter has asked every source")


async def test_the_exporter_serves_what_redis_holds_while_prefect_is_down(
    redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    await MetricsLedger(redis).add([Event("job:started", JOBS_STARTED.increment().deltas)])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = environment(f"{redis_server.url[:-1]}5", port, tmp_path)
    with running(COMMAND, environment=variables, log=tmp_path / "exporter.log") as process:
        wait_for_answers(url)
        async with httpx.AsyncClient(base_url=url) as client:
            response = await client.get("/metrics")
            modern = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        process.send_signal(signal.SIGTERM)
        process.wait(15)

    assert response.status_code == 200
    exposition = Exposition.parse(response.text)
    assert exposition.names() >= {metric.name for metric in ALL} - NEEDS_PREFECT
    assert not exposition.names() & NEEDS_PREFECT
    assert exposition.value("jobs_started_total") == 1
    assert exposition.value("video_orchestrator_exporter_source_up", source="recorded") == 1
    assert exposition.value("video_orchestrator_exporter_source_up", source="workers") == 0
    assert Exposition.parse_openmetrics(modern.text).value("jobs_started_total") == 1
    assert list((tmp_path / "metrics").iterdir()) == [tmp_path / "metrics" / "high-water.json"]


async def test_a_multiprocess_directory_replaces_the_single_process_by_its_group(
    redis: Redis,  # noqa: ARG001 - empties the database
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    port, shared = free_port(), tmp_path / "shared"
    shared.mkdir()
    variables = environment(f"{redis_server.url[:-1]}5", port, tmp_path) | {"PROMETHEUS_MULTIPROC_DIR": str(shared)}
    with running(COMMAND, environment=variables, log=tmp_path / "exporter.log"):
        wait_for_answers(f"http://127.0.0.1:{port}")
        async with httpx.AsyncClient() as client:
            exposition = Exposition.parse((await client.get(f"http://127.0.0.1:{port}/metrics")).text)
    assert exposition.value("video_orchestrator_start_time_seconds") is not None
    assert exposition.value("process_start_time_seconds") is None
    assert list(shared.glob("gauge_max_*.db"))


def test_a_missing_setting_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    variables = {**os.environ, **environment("redis://127.0.0.1:1/0", free_port(), tmp_path), "TABARIO_REDIS_URL": ""}
    ended = subprocess.run(COMMAND, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Set TABARIO_REDIS_URL" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_does_not_start_when_metrics_are_switched_off(tmp_path: Path) -> None:
    variables = {**os.environ, **environment("redis://127.0.0.1:1/0", free_port(), tmp_path), "ENABLE_METRICS": "false"}
    ended = subprocess.run(COMMAND, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "Set ENABLE_METRICS=true to run the exporter."
