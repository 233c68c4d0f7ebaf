"""Jobs that end in every way, and every counter and histogram against what the test knows of them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.cli.deployment import deploy
from tabario.metrics.definitions import (
    COMFYUI_BUSY_SECONDS,
    COMFYUI_REQUESTS,
    GPU_SECONDS,
    JOB_TOTAL_SECONDS,
    LEASE_RENEWALS,
    RECORDED,
    REDIS_ERRORS,
    STAGE_SECONDS,
)
from tabario.metrics.ledger import MetricsLedger
from tabario.metrics.series import Histogram
from tabario.settings import ComfyUISettings, Settings
from tabario.tiers import Tier
from tests.support.comfyui import ComfyUIServer
from tests.support.counted_comfyui import Answers, counted_comfyui_running
from tests.support.exposition import Exposition
from tests.support.front_door_process import FrontDoorProcess, front_door_process
from tests.support.jobs import new_job, settings_for
from tests.support.orchestrator import new_user, prefect_client
from tests.support.servers import PrefectServer, RedisServer, prefect_running, running
from tests.support.waiting import eventually

IMAGE_TIMEOUT = 6.0
PATIENCE = 150.0
SCRIPT_LENGTH = len(new_job().spec.script)
ONE_SCENE: dict[str, Any] = {
    "script": "The fox crosses the frozen river.",
    "prompts": [{"image_prompt": "a fox on a frozen river"}],
}

pytestmark = [
    pytest.mark.timeout(600),  # five jobs, one after the other
]

UNKNOWABLE = (REDIS_ERRORS, LEASE_RENEWALS, COMFYUI_BUSY_SECONDS, GPU_SECONDS, STAGE_SECONDS)
READ_AT = "video_orchestrator_exporter_last_success_timestamp_seconds"

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Submitted:
    """A job and its owner's client."""

    client: httpx.AsyncClient
    run_id: str
    flow_run_id: str

    async def status(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self.client.get(f"/orchestrate/status/{self.run_id}")).json()
        return body

    async def has_ended(self) -> bool:
        return (await self.status())["ended_at"] is not None


@dataclass(frozen=True)
class Studio:
    """Everything that makes jobs, and the means to spoil them."""

    door: FrontDoorProcess
    comfyui: ComfyUIServer
    answers: Answers
    redis: Redis
    prefect: httpx.AsyncClient
    clients: AsyncExitStack

    async def submit(self, *, tier: Tier = Tier.STANDARD, **changes: Any) -> Submitted:  # noqa: ANN401 - fields of the spec
        """A job of a new user."""
        client = await self.clients.enter_async_context(self.door.client(new_user(), tier=tier))
        spec = new_job(**changes).spec.model_dump(mode="json", exclude_none=True)
        reply = await client.post("/orchestrate/start", json=spec | {"run_id": uuid4().hex})
        assert reply.status_code == 202, reply.text
        return Submitted(client, reply.json()["run_id"], reply.json()["flow_run_id"])

    async def end_of(self, job: Submitted) -> dict[str, Any]:
        await eventually(job.has_ended, within=PATIENCE, what="the job has ended")
        return await job.status()

    async def hangs(self) -> bool:
        """Whether the armed fault has struck."""
        armed: list[object] = self.comfyui.http.get("/standin/faults").json()["armed"]
        return armed == []

    async def asks_again(self, *, after: int) -> bool:
        """Whether ComfyUI has answered more than so often: the dead process's successor asks."""
        return self.answers.counts.total() > after

    async def kill(self, job: Submitted) -> int:
        """Kills the job's process at a moment in which it has recorded every answer; returns how many there were."""
        run = (await self.prefect.get(f"/flow_runs/{job.flow_run_id}")).json()
        process = psutil.Process(int(run["infrastructure_pid"].rpartition(":")[2]))

        async def is_quiet() -> bool:
            process.suspend()
            if await self.recorded_answers() == self.answers.counts:
                return True
            process.resume()
            return False

        await eventually(is_quiet, within=PATIENCE, what="every answer is recorded")
        process.kill()
        return self.answers.counts.total()

    async def recorded_answers(self) -> Counter[tuple[str, str]]:
        """ComfyUI's answers by endpoint and status, as far as they are counted."""
        counts: Counter[tuple[str, str]] = Counter()
        for field, value in (await MetricsLedger(self.redis).read()).values.items():
            name, labels = json.loads(field)
            if name == COMFYUI_REQUESTS.name:
                counts[labels["endpoint"], labels["status"]] = int(value)
        return counts

    async def exposition(self) -> Exposition:
        async with httpx.AsyncClient() as client:
            return Exposition.parse((await client.get(f"{self.door.url}/metrics")).text)


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[PrefectServer]:
    """A Prefect server of its own: this worker would take the runs that other tests left, and count them."""
    with prefect_running(tmp_path_factory.mktemp("prefect"), redis_server) as server:
        yield server


@pytest.fixture
def comfyui(tmp_path: Path) -> Iterator[tuple[ComfyUIServer, Answers]]:
    with counted_comfyui_running(tmp_path / "comfyui") as found:
        yield found


@pytest.fixture
def settings(
    prefect_server: PrefectServer, redis_server: RedisServer, comfyui: tuple[ComfyUIServer, Answers], tmp_path: Path
) -> Settings:
    server, _ = comfyui
    return settings_for(
        prefect_url=prefect_server.api_url,
        redis_url=f"{redis_server.url[:-1]}5",
        directory=tmp_path,
        comfyui=ComfyUISettings(url=server.url, image_timeout=IMAGE_TIMEOUT),
    )


@pytest.fixture
def worker(prefect_server: PrefectServer, tmp_path: Path, settings: Settings) -> Iterator[None]:
    environment = {
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_HOME": str(tmp_path / "worker"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "TABARIO_STATE_DIR": str(settings.core.state_dir),
        "TABARIO_METRICS_DIRECTORY": str(tmp_path / "worker-metrics"),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", names.WORK_POOL, "--type", "process"]
    with running(command, environment=environment, log=tmp_path / "worker.log", grace=1):
        yield


@pytest.fixture
async def studio(
    settings: Settings,
    comfyui: tuple[ComfyUIServer, Answers],
    redis: Redis,
    prefect_server: PrefectServer,
    tmp_path: Path,
) -> AsyncIterator[Studio]:
    await deploy(settings)
    (tmp_path / "door").mkdir()
    door = front_door_process(
        tmp_path / "door",
        redis_url=settings.redis.url.get_secret_value(),
        prefect=prefect_server,
        METRICS_SCOPE="all",
        TABARIO_EXPORTER_POLL_SECONDS="1",
        TABARIO_SLOTS_SWEEP="1",
        TABARIO_SLOTS_RESUMES="1",
        TABARIO_MEDIA_ROOT=str(settings.media.root),
    )
    with door as opened:
        async with (
            prefect_client(prefect_server.api_url) as prefect,
            AsyncExitStack() as clients,
        ):
            yield Studio(opened, *comfyui, redis, prefect, clients)


@pytest.fixture
async def before(studio: Studio) -> Exposition:
    """What is shown before any job: the keeper may have settled what other tests left."""

    async def has_swept() -> bool:
        return await studio.redis.exists(names.KEEPER_SWEPT_KEY) == 1

    async def has_polled() -> bool:
        return (await studio.exposition()).value(READ_AT, source="recorded") != read_at

    await eventually(has_swept, within=PATIENCE, what="the keeper has been here")
    read_at = (await studio.exposition()).value(READ_AT, source="recorded")
    await eventually(has_polled, within=PATIENCE, what="the exporter has read what the keeper did")
    return await studio.exposition()


def growth(before: Exposition, after: Exposition, sample: str, **labels: str) -> float:
    values = [exposition.value(sample, **labels) for exposition in (before, after)]
    assert None not in values, f"{sample} is not shown"
    return round((values[1] or 0) - (values[0] or 0), 6)


def grown(before: Exposition, after: Exposition) -> dict[Series, float]:
    """Every counter, and every number of observations, that is not what it was.

    Three are not the test's to know: on a busy machine Redis may be late, which counts as its error but costs no count;
    leases are renewed for as long as jobs take; and ComfyUI times its work itself.
    """
    grown: dict[Series, float] = {}
    for metric in RECORDED:
        name = f"{metric.name}_count" if isinstance(metric, Histogram) else metric.name
        for labels in metric.label_sets():
            if metric not in UNKNOWABLE and (amount := growth(before, after, name, **labels)):
                grown[series(name, **labels)] = amount
    return grown


def series(name: str, **labels: str) -> Series:
    return name, frozenset(labels.items())


@pytest.mark.usefixtures("worker")
async def test_every_count_is_the_truth_about_jobs_that_end_in_every_way(studio: Studio, before: Exposition) -> None:
    made = await studio.end_of(await studio.submit(tier=Tier.PREMIUM))

    studio.comfyui.arm("node_error", times=9)
    failed = await studio.end_of(await studio.submit(**ONE_SCENE))
    studio.comfyui.disarm()

    studio.comfyui.arm("hang")
    timed_out = await studio.end_of(await studio.submit(**ONE_SCENE))

    studio.comfyui.arm("hang")
    job = await studio.submit(**ONE_SCENE)
    await eventually(studio.hangs, within=PATIENCE, what="the picture hangs")
    assert (await job.client.post(f"/orchestrate/cancel/{job.run_id}")).status_code == 202
    cancelled = await studio.end_of(job)

    studio.comfyui.arm("hang")
    job = await studio.submit(**ONE_SCENE)
    await eventually(studio.hangs, within=PATIENCE, what="the picture hangs")
    again = new_job().spec.model_dump(mode="json", exclude_none=True) | {"run_id": uuid4().hex}
    refused = await job.client.post("/orchestrate/start", json=again)
    invalid = await job.client.post("/orchestrate/start", json=again | {"script": ""})
    answered = await studio.kill(job)
    await eventually(partial(studio.asks_again, after=answered), within=PATIENCE, what="the job is taken over")
    await studio.kill(job)
    killed = await studio.end_of(job)

    assert [one["state"] for one in (made, failed, timed_out, cancelled, killed)] == [
        "completed",
        "failed",
        "failed",
        "cancelled",
        "crashed",
    ]
    assert (refused.status_code, invalid.status_code) == (409, 422)
    expected = expected_counts(studio.answers, film=made["film"])

    async def is_shown() -> bool:
        return grown(before, await studio.exposition()) == expected

    with suppress(AssertionError):  # the comparison below tells what is wrong
        await eventually(is_shown, within=30, what="everything is shown")
    after = await studio.exposition()
    assert grown(before, after) == expected
    assert_total_time_is_exact(before, after, [made, failed, timed_out, killed])


def expected_counts(answers: Answers, *, film: Mapping[str, Any]) -> dict[Series, float]:
    """What five jobs, one refused and one invalid submission leave behind; everything else must not have grown."""
    picture = {"step": "text2image", "workflow": "text2image"}
    requests = {
        series("comfyui_requests_total", endpoint=endpoint, status=status): count
        for (endpoint, status), count in answers.counts.items()
    }
    times: Counter[Series] = Counter()
    for (endpoint, _), count in answers.counts.items():
        times[series("comfyui_request_seconds_count", endpoint=endpoint)] += count
    return {
        series("jobs_enqueued_total"): 5,
        series("jobs_started_total"): 5,
        series("jobs_completed_total"): 1,
        series("jobs_failed_total", reason="error"): 1,
        series("jobs_failed_total", reason="timeout"): 1,
        series("jobs_failed_total", reason="crashed"): 1,
        series("job_total_seconds_count"): 4,
        series("voiceover_generation_seconds_count"): 5,
        series("image_generation_seconds_count", **picture): 2 + 2 + 1,  # a picture that fails is painted once more
        series("image_generation_failures_total", reason="error"): 2,
        series("image_generation_failures_total", reason="timeout"): 1,
        series("images_generated_total", workflow="text2image"): 2,
        series("total_images_generation_seconds_count"): 1,
        series("video_orchestrator_queue_wait_seconds_count", work_queue="premium"): 1,
        series("video_orchestrator_queue_wait_seconds_count", work_queue="standard"): 4,
        series("video_orchestrator_submissions_rejected_total", tier="standard", reason="slots_full"): 1,
        series("video_orchestrator_jobs_cancelled_total"): 1,
        series("video_orchestrator_jobs_resumed_total"): 1,
        series("video_orchestrator_video_seconds_produced_total"): film["duration"],
        series("video_orchestrator_stored_bytes_total", tier="premium"): film["bytes"],
        series("video_orchestrator_pictures_painted_total", tier="premium"): 2,
        series("video_orchestrator_characters_spoken_total", tier="premium"): SCRIPT_LENGTH,
        series("video_orchestrator_characters_spoken_total", tier="standard"): 4 * len(ONE_SCENE["script"]),
        **requests,
        **times,
    }


def assert_total_time_is_exact(before: Exposition, after: Exposition, ended: list[dict[str, Any]]) -> None:
    """From acceptance to the end, as Prefect has them, in buckets that are found here anew."""
    seconds = [
        (datetime.fromisoformat(one["ended_at"]) - datetime.fromisoformat(one["accepted_at"])).total_seconds()
        for one in ended
    ]
    assert growth(before, after, "job_total_seconds_sum") == pytest.approx(sum(seconds), abs=1e-5)
    for edge in JOB_TOTAL_SECONDS.buckets:
        below = sum(1 for one in seconds if one <= edge)
        assert growth(before, after, "job_total_seconds_bucket", le=f"{float(edge)}") == below
