"""What the exporter shows with real servers behind it, against the table in docs/metrics.md, and while servers fail."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from prometheus_client.metrics_core import Metric as Family
from redis.asyncio import Redis

from monitoring.exporter import Exporter, create_exporter
from monitoring.server import create_server
from tabario.metrics.definitions import JOBS_COMPLETED
from tabario.metrics.ledger import Event, MetricsLedger
from tabario.settings import MetricsScope, MetricsSettings, PrefectSettings, RedisSettings, SlotSettings
from tests.chaos.proxy import Proxy
from tests.support.exposition import Exposition
from tests.support.faulty_redis import faulty_redis_running
from tests.support.servers import PrefectServer, RedisServer, free_port
from tests.support.waiting import eventually

TABLE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([a-z0-9_]+) \| (counter|gauge|histogram) \| ([^|]*) \| ([0-9. ]*) \| ([^|]+) \|$", re.MULTILINE)
LIBRARY = ("python_", "process_", "prefect_")  # what the libraries count of themselves
LABELS = {
    *("reason", "step", "workflow", "endpoint", "status", "work_queue", "work_pool", "tier", "state", "source", "kind"),
    *("outcome", "stage", "engine", "version"),
}
MOST_VALUES = 50
SOURCES = ("recorded", "queue", "runs", "workers", "slots")
OF_PREFECT = ("runs", "workers", "slots")
UP = "video_orchestrator_exporter_source_up"

Shape = tuple[str, dict[str, set[str]], tuple[str, ...]]


def specified() -> dict[str, Shape]:
    """Type, labels with their values, and buckets of each metric in the table."""
    shapes = {}
    for name, kind, labels, buckets, _ in ROW.findall(TABLE):
        parts = [part.partition(": ") for part in labels.split("; ") if part.strip()]
        values = {label.strip(): set(listed.strip().split(", ")) for label, _, listed in parts}
        shapes[name] = (kind, values, tuple(buckets.split()))
    shapes["video_orchestrator_build_info"][1]["version"] = {version("tabario-flows")}
    return shapes


def shown_shape(family: Family) -> Shape:
    labels: dict[str, set[str]] = defaultdict(set)
    buckets: dict[str, None] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label == "le":
                buckets[f"{float(value):g}"] = None
            else:
                labels[label].add(value)
    buckets.pop("inf", None)
    return family.type, dict(labels), tuple(buckets)


@asynccontextmanager
async def exporting(redis_url: str, prefect_url: str, directory: Path) -> AsyncIterator[Exporter]:
    exporter = create_exporter(
        redis=RedisSettings.model_validate({"url": redis_url}),
        prefect=PrefectSettings(url=prefect_url),
        slots=SlotSettings(),
        metrics=MetricsSettings.model_validate({"directory": directory / "metrics", "poll_seconds": 6}),
        scope=MetricsScope.ALL,
    )
    async with exporter:
        yield exporter


async def scrape(exporter: Exporter, accept: str = "text/plain") -> str:
    transport = httpx.ASGITransport(create_server(exporter))
    async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
        return (await client.get("/metrics", headers={"Accept": accept})).text


async def are_up(exporter: Exporter, *names: str) -> bool:
    return {name for name, up in exporter.sources_up().items() if up} == set(names)


@pytest.fixture
async def exporter(
    redis: Redis,  # noqa: ARG001 - empties the database
    redis_server: RedisServer,
    prefect_server: PrefectServer,
    tmp_path: Path,
) -> AsyncIterator[Exporter]:
    async with exporting(f"{redis_server.url[:-1]}5", prefect_server.api_url, tmp_path) as exporter:
        await eventually(partial(are_up, exporter, *SOURCES), within=60, what="every source was read")
        yield exporter


async def test_the_exposition_has_the_names_types_labels_and_buckets_of_the_table(exporter: Exporter) -> None:
    text, modern = await scrape(exporter), await scrape(exporter, "application/openmetrics-text; version=1.0.0")
    for exposition in (Exposition.parse(text), Exposition.parse_openmetrics(modern)):
        shapes = {
            f"{name}_total" if family.type == "counter" else name: shown_shape(family)
            for name, family in exposition.families.items()
            if not name.startswith(LIBRARY)
        }
        assert shapes == specified()


async def test_no_label_is_outside_the_allowed_list_or_has_more_than_fifty_values(exporter: Exporter) -> None:
    for name, family in Exposition.parse(await scrape(exporter)).families.items():
        _, labels, _ = shown_shape(family)
        assert name.startswith(LIBRARY) or labels.keys() <= LABELS, name
        assert all(len(values) <= MOST_VALUES for values in labels.values()), name


async def test_a_hung_redis_is_shown_as_down_and_no_total_moves(prefect_server: PrefectServer, tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        async with Redis.from_url(server.url, decode_responses=True) as client:
            done = [Event(uuid4().hex, JOBS_COMPLETED.increment().deltas) for _ in range(7)]
            await MetricsLedger(client).add(done)
        async with exporting(server.url, prefect_server.api_url, tmp_path) as exporter:
            await eventually(partial(are_up, exporter, *SOURCES), within=60, what="every source was read")
            server.hang()
            await eventually(partial(are_up, exporter, *OF_PREFECT), within=30, what="the hang is seen")
            during = Exposition.parse(await scrape(exporter))
            server.go_on()
            await eventually(partial(are_up, exporter, *SOURCES), within=30, what="Redis is seen again")
            after = Exposition.parse(await scrape(exporter))
    assert [seen.value("jobs_completed_total") for seen in (during, after)] == [7, 7]
    assert [seen.value(UP, source="recorded") for seen in (during, after)] == [0, 1]
    assert (during.value("queue_depth"), after.value("queue_depth")) == (None, 0)


async def test_a_lost_prefect_takes_its_gauges_away_and_nothing_else(
    redis: Redis, redis_server: RedisServer, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    await MetricsLedger(redis).add([Event(uuid4().hex, JOBS_COMPLETED.increment().deltas)])
    port, upstream = free_port(), urlsplit(prefect_server.api_url).port
    assert upstream is not None
    async with exporting(f"{redis_server.url[:-1]}5", f"http://127.0.0.1:{port}/api", tmp_path) as exporter:
        async with Proxy(upstream).serving(port):
            await eventually(partial(are_up, exporter, *SOURCES), within=60, what="every source was read")
            before = Exposition.parse(await scrape(exporter))
        await eventually(partial(are_up, exporter, "recorded", "queue"), within=30, what="Prefect is missed")
        during = Exposition.parse(await scrape(exporter))
        async with Proxy(upstream).serving(port):
            await eventually(partial(are_up, exporter, *SOURCES), within=60, what="Prefect is seen again")
            after = Exposition.parse(await scrape(exporter))
    assert [seen.value("jobs_completed_total") for seen in (before, during, after)] == [1, 1, 1]
    assert [seen.value("queue_depth") for seen in (before, during, after)] == [0, 0, 0]
    gone = before.names() - during.names()
    gauges = {name for name, (kind, _, _) in specified().items() if kind == "gauge"}
    assert gone == {name for name in gauges if re.search(r"runs|oldest|worker(s|s_new|_active)$|slots", name)}
    assert after.names() == before.names()
