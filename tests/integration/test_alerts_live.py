"""The whole chain: the exporter, Prometheus with our rules, Alertmanager with our routes, and who is told.

Time passes sixty times as fast for the rules: ten minutes are ten seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis

from monitoring.grafana.files import DIRECTORY
from tabario import names
from tabario.metrics.definitions import (
    IMAGE_GENERATION_SECONDS,
    IMAGE_GENERATION_SLOW,
    JOBS_COMPLETED,
    JOBS_FAILED,
    RECORDED,
)
from tabario.metrics.recorder import Recorder, open_recorder
from tabario.metrics.series import Histogram, Observation
from tests.support.alerting import Alerting, Receiver, alerting_running
from tests.support.dashboards import at_a_moment, targets_of
from tests.support.orchestrator import prefect_client
from tests.support.promql import alternatives
from tests.support.servers import PrefectServer, RedisServer, free_port, prefect_running, redis_running, running
from tests.support.waiting import eventually

FASTER = 60
PATIENCE = 120.0
WORKER_HEARTBEAT = 1.0
MISSED_WORKER_SECONDS = 3 * WORKER_HEARTBEAT + 2 * 15  # what Prefect takes to see that a worker is gone
FIFTEEN_MINUTES = f"{15 * 60 // FASTER}s"


@dataclass(frozen=True)
class Program:
    """A process that tests start and end."""

    command: list[str]
    environment: dict[str, str]
    log: Path

    def running(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return running(self.command, environment=self.environment, log=self.log)


@dataclass(frozen=True)
class Exporter(Program):
    """The exporter, and where Prometheus finds it."""

    target: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, PrefectServer]]:
    """Servers of its own: in those that tests share, the chain would show what others left in the queue."""
    directory = tmp_path_factory.mktemp("servers")
    with redis_running(directory) as store, prefect_running(directory, store) as prefect:
        yield store, prefect


@pytest.fixture(scope="module")
def redis_url(servers: tuple[RedisServer, PrefectServer]) -> str:
    return servers[0].url


@pytest.fixture(scope="module")
def prefect_server(servers: tuple[RedisServer, PrefectServer]) -> PrefectServer:
    return servers[1]


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory, redis_url: str, prefect_server: PrefectServer) -> Exporter:
    directory, port = tmp_path_factory.mktemp("exporter"), free_port()
    environment = {
        "TABARIO_REDIS_URL": redis_url,
        "PREFECT_API_URL": prefect_server.api_url,
        "TABARIO_EXPORTER_PORT": str(port),
        "TABARIO_EXPORTER_POLL_SECONDS": "1",
        "TABARIO_METRICS_DIRECTORY": str(directory / "metrics"),
    }
    command = [sys.executable, "-m", "monitoring"]
    return Exporter(command, environment, directory / "exporter.log", f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory, exporter: Exporter) -> Iterator[tuple[str, str, Receiver]]:
    with alerting_running(tmp_path_factory.mktemp("alerting"), target=exporter.target, faster=FASTER) as found:
        yield found


@pytest.fixture
async def alerting(addresses: tuple[str, str, Receiver]) -> AsyncIterator[Alerting]:
    prometheus, alertmanager, receiver = addresses
    async with (
        httpx.AsyncClient(base_url=prometheus, timeout=10) as queries,
        httpx.AsyncClient(base_url=alertmanager, timeout=10) as alerts,
    ):
        yield Alerting(queries, alerts, receiver)


@pytest.fixture
async def recorder(redis_url: str, tmp_path: Path) -> AsyncIterator[Recorder]:
    async with open_recorder(redis_url, enabled=True, spool_directory=tmp_path / "spool") as opened:
        yield opened


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the chain's own database, whose counts go on from one test to the next."""
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


async def record(recorder: Recorder, *observations: Observation) -> None:
    await recorder.record(uuid4().hex, *observations)


@pytest.fixture
async def worker(prefect_server: PrefectServer, tmp_path: Path) -> Program:
    """A stock worker that takes no runs, for its queue is nobody's. The one of the test before is forgotten."""
    async with prefect_client(prefect_server.api_url) as http:
        pool = f"/work_pools/{names.WORK_POOL}"
        known = await http.post(f"{pool}/workers/filter", json={})
        for other in known.json() if known.is_success else ():
            await http.delete(f"{pool}/workers/{other['name']}")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", names.WORK_POOL, "--type", "process"]
    environment = {
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_HOME": str(tmp_path / "worker"),
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(WORKER_HEARTBEAT),
        "DO_NOT_TRACK": "1",
    }
    return Program([*command, "--work-queue", f"nobody-{uuid4().hex}"], environment, tmp_path / "worker.log")


async def while_doing(
    deed: Callable[[], Awaitable[None]], condition: Callable[[], Awaitable[bool]], *, within: float, what: str
) -> None:
    """Goes on with the deed until the condition holds."""

    async def holds() -> bool:
        await deed()
        return await condition()

    await eventually(holds, within=within, what=what)


async def test_a_stuck_queue_slow_pictures_and_failing_jobs_are_reported_and_resolved(
    exporter: Exporter, worker: Program, alerting: Alerting, recorder: Recorder, redis: Redis
) -> None:
    faults = ("QueueDepthHigh", "ImageGenerationSlow", "JobFailureRateHigh")

    async def go_wrong() -> None:
        slow = IMAGE_GENERATION_SECONDS.observe(1100, step="text2image", workflow="text2image")
        await record(recorder, slow, IMAGE_GENERATION_SLOW.increment(), JOBS_FAILED.increment(reason="error"))

    with exporter.running(), worker.running():
        seen = partial(alerting.is_true, "queue_depth == 0 and on (job) worker_active == 1")
        await eventually(seen, within=PATIENCE, what="Prometheus sees an empty queue and a worker")
        await redis.lpush(names.QUEUE_KEY, *(uuid4().hex for _ in range(51)))
        fired = partial(alerting.is_reported, *faults, status="firing")
        await while_doing(go_wrong, fired, within=PATIENCE, what="the faults are reported")

        await redis.delete(names.QUEUE_KEY)
        good = partial(record, recorder, JOBS_COMPLETED.increment())
        over = partial(alerting.is_reported, *faults, status="resolved")
        await while_doing(good, over, within=PATIENCE, what="the ends are reported")


async def test_a_killed_worker_is_reported_hides_its_echoes_and_its_return_is_reported(
    exporter: Exporter, worker: Program, alerting: Alerting, redis: Redis
) -> None:
    async def calm() -> bool:
        return alerting.receiver.status_of("WorkerInactive") != "firing"

    with exporter.running():
        is_active = partial(alerting.is_true, "worker_active == 1")
        with worker.running() as process:
            await eventually(is_active, within=PATIENCE, what="the worker is seen")
            await eventually(calm, within=PATIENCE, what="nothing is said of the time before it came")
            process.kill()
        reported = partial(alerting.is_reported, "WorkerInactive", status="firing")
        await eventually(reported, within=MISSED_WORKER_SECONDS + PATIENCE, what="the dead worker is reported")

        await redis.lpush(names.QUEUE_KEY, *(uuid4().hex for _ in range(51)))
        hidden = partial(alerting.is_silenced_by_another, "QueueDepthHigh")
        await eventually(hidden, within=PATIENCE, what="the long queue is held back as an echo")
        assert alerting.receiver.status_of("QueueDepthHigh") != "firing"

        await redis.delete(names.QUEUE_KEY)
        with worker.running():
            returned = partial(alerting.is_reported, "WorkerInactive", status="resolved")
            await eventually(returned, within=PATIENCE, what="the worker's return is reported")


async def test_a_dead_exporter_is_reported_and_its_return_is_too(exporter: Exporter, alerting: Alerting) -> None:
    with exporter.running():
        is_up = partial(alerting.is_true, 'up{job="tabario"} == 1')
        await eventually(is_up, within=PATIENCE, what="Prometheus reads the exporter")
    dead = partial(alerting.is_reported, "ExporterDown", status="firing")
    await eventually(dead, within=PATIENCE, what="the dead exporter is reported")
    with exporter.running():
        back = partial(alerting.is_reported, "ExporterDown", status="resolved")
        await eventually(back, within=PATIENCE, what="the exporter's return is reported")


async def test_every_query_of_every_dashboard_has_an_answer(
    exporter: Exporter, alerting: Alerting, recorder: Recorder
) -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in DIRECTORY.iterdir()]
    queries = {
        part
        for board in boards
        for target in targets_of(board)
        for part in alternatives(at_a_moment(target["expr"], window=FIFTEEN_MINUTES, rate_interval=FIFTEEN_MINUTES))
    }
    numbers = count(1)

    async def everything_happens() -> None:
        for metric in RECORDED:
            for labels in metric.label_sets():
                number = next(numbers) % 7 + 1
                one = metric.observe(number, **labels) if isinstance(metric, Histogram) else metric.increment(**labels)
                await record(recorder, one)

    async def all_answered() -> bool:
        for query in sorted(queries):
            values = await alerting.query(query)
            if not [value for value in values if value == value]:  # noqa: PLR0124 - not a number is no answer
                unanswered.append(query)
                return False
        return True

    unanswered: list[str] = []
    with exporter.running():
        try:
            await while_doing(everything_happens, all_answered, within=PATIENCE, what="every query has an answer")
        except AssertionError:
            pytest.fail(f"no answer to {unanswered[-1]}")
