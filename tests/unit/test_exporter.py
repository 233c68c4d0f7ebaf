"""The exporter with sources that answer, fail and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric as Family
from starlette.applications import Starlette
from starlette.routing import Route

from monitoring.exporter import Exporter, create_exporter
from monitoring.families import gauge_family, recorded_families
from monitoring.process_series import ProcessSeries
from monitoring.server import create_server
from monitoring.source import Poller, Source
from tabario.metrics.definitions import (
    ALL,
    COMFYUI_REQUESTS,
    IMAGE_GENERATION_SECONDS,
    JOBS_FAILED,
    QUEUE_DEPTH,
    RECORDED,
    WORKERS,
)
from tabario.metrics.series import Histogram, Observation
from tabario.settings import MetricsScope, MetricsSettings, PrefectSettings, RedisSettings, SlotSettings
from tests.support.exposition import Exposition
from tests.support.waiting import eventually

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
UP = "video_orchestrator_exporter_source_up"


class FakeSource:
    """Answers as long as it is well."""

    def __init__(self, name: str, families: Sequence[Family], *, keeps_values: bool) -> None:
        self._name = name
        self._families = families
        self._keeps_values = keeps_values
        self.is_well = True

    @property
    def name(self) -> str:
        return self._name

    @property
    def keeps_values(self) -> bool:
        return self._keeps_values

    async def read(self) -> Sequence[Family]:
        if not self.is_well:
            raise ConnectionError("down")
        return self._families


def totals_of(*observations: Observation) -> dict[str, float]:
    totals: dict[str, float] = {}
    for observation in observations:
        for name, amount in observation.deltas:
            totals[name] = totals.get(name, 0) + amount
    return totals


def exporter_of(*sources: Source) -> Exporter:
    @asynccontextmanager
    async def open_sources() -> AsyncIterator[Sequence[Source]]:
        yield sources

    return Exporter(open_sources, ProcessSeries(None), interval=1)


async def all_read(exporter: Exporter, sources: int) -> bool:
    return len(exporter.sources_up()) == sources


async def scrape(app: Starlette, path: str = "/metrics", accept: str = "text/plain") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://exporter") as client:
        return await client.get(path, headers={"Accept": accept})


def test_every_recorded_metric_is_shown_with_every_label_set_before_anything_happened() -> None:
    shown = Exposition.of(recorded_families({}))
    assert shown.names() == {metric.name for metric in RECORDED}
    for metric in RECORDED:
        for labels in metric.label_sets():
            sample = f"{metric.name}_count" if isinstance(metric, Histogram) else metric.name
            assert shown.value(sample, **labels) == 0


def test_buckets_are_summed_up_and_the_last_one_is_the_count() -> None:
    labels = next(IMAGE_GENERATION_SECONDS.label_sets())
    seconds = (3, 15, 15, 900, 5000)
    shown = Exposition.of(
        recorded_families(totals_of(*(IMAGE_GENERATION_SECONDS.observe(s, **labels) for s in seconds)))
    )
    name = IMAGE_GENERATION_SECONDS.name
    buckets = [shown.value(f"{name}_bucket", **labels, le=edge) for edge in IMAGE_GENERATION_SECONDS.edges]
    assert buckets == [1, 3, 3, 3, 3, 3, 3, 4, 5]
    assert shown.value(f"{name}_count", **labels) == len(seconds)
    assert shown.value(f"{name}_sum", **labels) == sum(seconds)


def test_fields_of_an_unknown_version_do_not_reach_the_exposition() -> None:
    foreign = {'["jobs_failed_total",{"reason":"user 7"}]': 3.0, '["other_total",{}]': 1.0}
    assert list(recorded_families(foreign)) == list(recorded_families({}))


def test_a_gauge_refuses_a_label_value_that_is_not_listed() -> None:
    with pytest.raises(ValueError, match="work_pool"):
        gauge_family(WORKERS, {("somebody's pool", "online"): 1})


async def test_both_formats_parse_and_show_the_same() -> None:
    totals = totals_of(
        JOBS_FAILED.increment(reason="timeout"), COMFYUI_REQUESTS.increment(endpoint="/view", status="2xx")
    )
    source = FakeSource("recorded", tuple(recorded_families(totals)), keeps_values=True)
    exporter = exporter_of(source)
    async with exporter:
        await eventually(partial(all_read, exporter, 1), within=5, what="every source was read")
        app = create_server(exporter)
        text, openmetrics = await scrape(app), await scrape(app, accept=OPENMETRICS)
    assert text.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    plain, modern = Exposition.parse(text.text), Exposition.parse_openmetrics(openmetrics.text)
    for shown in (plain, modern):
        assert shown.value("jobs_failed_total", reason="timeout") == 1
        assert shown.value("comfyui_requests_total", endpoint="/view", status="2xx") == 1
    ours = {metric.name for metric in ALL}
    assert plain.names() & ours == modern.names() & ours


async def test_a_failed_source_is_shown_as_down_keeps_totals_and_drops_present_states() -> None:
    recorded = FakeSource(
        "recorded", tuple(recorded_families(totals_of(JOBS_FAILED.increment(reason="error")))), keeps_values=True
    )
    queue = FakeSource("queue", (gauge_family(QUEUE_DEPTH, {(): 4}),), keeps_values=False)
    pollers = [Poller(source, interval=1) for source in (recorded, queue)]
    exporter = exporter_of(recorded, queue)
    exporter._pollers = pollers

    for poller in pollers:
        await poller.poll()
    well = Exposition.of(exporter.collect())
    recorded.is_well = queue.is_well = False
    for poller in pollers:
        await poller.poll()
    ill = Exposition.of(exporter.collect())

    assert (well.value("queue_depth"), ill.value("queue_depth")) == (4, None)
    assert well.value("jobs_failed_total", reason="error") == ill.value("jobs_failed_total", reason="error") == 1
    for source in ("recorded", "queue"):
        assert (well.value(UP, source=source), ill.value(UP, source=source)) == (1, 0)
        stamp = "video_orchestrator_exporter_last_success_timestamp_seconds"
        assert ill.value(stamp, source=source) == well.value(stamp, source=source) is not None

    queue.is_well = True
    await pollers[1].poll()
    assert Exposition.of(exporter.collect()).value("queue_depth") == 4


async def test_one_broken_source_does_not_hide_the_others() -> None:
    broken = FakeSource("runs", (), keeps_values=False)
    broken.is_well = False
    queue = FakeSource("queue", (gauge_family(QUEUE_DEPTH, {(): 0}),), keeps_values=False)
    exporter = exporter_of(broken, queue)
    async with exporter:
        await eventually(partial(all_read, exporter, 2), within=5, what="every source was read")
        shown = Exposition.of(exporter.collect())
        health = await scrape(create_server(exporter), "/health")
    assert (shown.value(UP, source="runs"), shown.value(UP, source="queue")) == (0, 1)
    assert shown.value("queue_depth") == 0
    assert health.status_code == 200
    assert health.json() == {"status": "ok", "sources": {"runs": False, "queue": True}}


async def test_a_source_that_hangs_counts_as_down() -> None:
    class HangingSource(FakeSource):
        async def read(self) -> Sequence[Family]:
            await asyncio.Event().wait()
            raise AssertionError

    poller = Poller(HangingSource("runs", (), keeps_values=False), interval=0.05)
    await poller.poll()
    assert poller.answer is not None
    assert not poller.answer.up
    assert poller.answer.seconds < 1


async def test_the_process_scope_shows_this_process_only(tmp_path: Path) -> None:
    exporter = create_exporter(
        redis=RedisSettings(url="redis://127.0.0.1:1/0"),
        prefect=PrefectSettings(url="http://127.0.0.1:1/api"),
        slots=SlotSettings(),
        metrics=MetricsSettings.model_validate({"directory": tmp_path}),
        scope=MetricsScope.PROCESS,
    )
    async with exporter:
        shown = Exposition.of(exporter.collect())
    assert shown.value("video_orchestrator_start_time_seconds") is not None
    assert shown.value("process_start_time_seconds") is not None
    assert not shown.names() & ({metric.name for metric in ALL if metric in RECORDED} | {UP, "queue_depth"})


async def test_a_front_door_can_mount_the_app_at_exactly_metrics() -> None:
    front_door = Starlette(routes=[Route("/metrics", exporter_of().app)])
    response = await scrape(front_door)
    assert response.status_code == 200
    assert not response.history
    assert Exposition.parse(response.text).value("video_orchestrator_build_info", version="0.1.0") == 1
