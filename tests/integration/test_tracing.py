"""One job, watched from outside: its trace from the request to ComfyUI, and the lines of every process about it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from redis.asyncio import Redis

from tabario import names
from tabario.cli.deployment import deploy
from tabario.logs import PREFECT_LOGGING, PREFECT_LOGGING_VARIABLE
from tabario.settings import ComfyUISettings, Settings
from tests.support.comfyui import comfyui_running
from tests.support.front_door_process import FrontDoorProcess, front_door_process
from tests.support.http_receiver import receiving
from tests.support.jobs import new_job, settings_for
from tests.support.orchestrator import new_user
from tests.support.servers import PrefectServer, RedisServer, running
from tests.support.waiting import eventually

PATIENCE = 150.0
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"
STAGES = {"voiceover", "scene plan", "merge", "publish"}

pytestmark = [
    pytest.mark.timeout(400),
]


@dataclass(frozen=True)
class Span:
    """A span as it was received."""

    id: str
    parent: str
    trace: str
    name: str
    service: str


@dataclass
class Collector:
    """Takes OTLP/HTTP exports of spans."""

    spans: dict[str, Span] = field(default_factory=dict)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    found = Span(
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        trace=span.trace_id.hex(),
                        name=span.name,
                        service=attributes["service.name"],
                    )
                    self.spans[found.id] = found

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans.values() if span.name == name and span.trace == TRACE]

    def ancestors(self, span: Span) -> list[str]:
        """The names of the spans above one, from below."""
        above = []
        while (parent := self.spans.get(span.parent)) is not None:
            above.append(parent.name)
            span = parent
        return above


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def tracing(collector: Collector) -> Iterator[dict[str, str]]:
    """What a traced process is told."""
    with receiving(collector.take) as url:
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "200"}


@pytest.fixture
def settings(prefect_server: PrefectServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Settings]:
    with comfyui_running(tmp_path / "comfyui") as comfyui:
        yield settings_for(
            prefect_url=prefect_server.api_url,
            redis_url=f"{redis_server.url[:-1]}5",
            directory=tmp_path,
            comfyui=ComfyUISettings(url=comfyui.url),
        )


@pytest.fixture
async def door(
    settings: Settings,
    redis: Redis,  # noqa: ARG001 - empties the database
    prefect_server: PrefectServer,
    tracing: dict[str, str],
    tmp_path: Path,
) -> AsyncIterator[FrontDoorProcess]:
    await deploy(settings)
    worker = {
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_HOME": str(tmp_path / "worker"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        PREFECT_LOGGING_VARIABLE: str(PREFECT_LOGGING),
        "TABARIO_STATE_DIR": str(settings.core.state_dir),
        "TABARIO_METRICS_DIRECTORY": str(tmp_path / "worker-metrics"),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", names.WORK_POOL, "--type", "process"]
    (tmp_path / "door").mkdir()
    with (
        running(command, environment=worker | tracing, log=tmp_path / "worker.log", grace=1),
        front_door_process(
            tmp_path / "door", redis_url=settings.redis.url.get_secret_value(), prefect=prefect_server, **tracing
        ) as opened,
    ):
        yield opened


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Every line, each of which is an object, but for the greeting that Prefect's command prints."""
    texts = log.read_text(encoding="utf-8").splitlines()
    lines = [json.loads(text) for text in texts if not text.startswith("Worker ")]
    assert all(isinstance(line, dict) and line["message"] for line in lines)
    return lines


async def make_film(client: httpx.AsyncClient, run_id: str) -> None:
    body = new_job().spec.model_dump(mode="json", exclude_none=True) | {"run_id": run_id}
    reply = await client.post("/orchestrate/start", json=body, headers={"traceparent": f"00-{TRACE}-{CALLERS_SPAN}-01"})
    assert reply.status_code == 202, reply.text

    async def is_made() -> bool:
        return bool((await client.get(f"/orchestrate/status/{run_id}")).json()["state"] == "completed")

    await eventually(is_made, within=PATIENCE, what="the film is made")


async def test_a_job_is_one_trace_and_every_line_about_it_says_so(
    door: FrontDoorProcess, collector: Collector, tmp_path: Path
) -> None:
    user_id, run_id = new_user(), uuid4().hex
    flow = names.workflow_id(user_id, run_id)
    async with door.client(user_id) as client:
        await make_film(client, run_id)

    async def has_ended() -> bool:
        return bool(collector.named(flow))  # the flow's own span ends last

    await eventually(has_ended, within=30, what="the spans have arrived")
    (request,) = collector.named("POST /orchestrate/start")
    assert (request.parent, request.service) == (CALLERS_SPAN, "tabario-front-door")
    above_flow = [flow, request.name]
    assert collector.ancestors(collector.named(flow)[0]) == [request.name]
    for stage in STAGES:
        assert [collector.ancestors(span) for span in collector.named(stage)] == [above_flow], stage
    images = [span for span in collector.spans.values() if span.trace == TRACE and span.name.startswith("image 0")]
    assert [collector.ancestors(span) for span in images] == [above_flow] * 2
    for endpoint in ("/prompt", "/history", "/view"):
        asked = collector.named(f"ComfyUI {endpoint}")
        assert asked, endpoint
        assert {tuple(collector.ancestors(span)) for span in asked} <= {(image.name, *above_flow) for image in images}

    of_run = [line for line in lines_of(tmp_path / "worker.log") if line.get("run_id") == run_id]
    assert {line["trace_id"] for line in of_run if line["logger"].startswith("prefect.task_runs")} == {TRACE}
    assert {line.get("stage") for line in of_run} >= {"voiceover", "images", "merge", "publish"}
    assert all(line["level"] in {"info", "warning", "error"} for line in lines_of(door.log))
