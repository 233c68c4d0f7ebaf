"""A stock Prefect worker runs the flow: cancelling ends the process, and a killed one is taken over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Scheduled

from tabario import names
from tabario.cli.deployment import deploy
from tabario.jobs import Job
from tabario.settings import ComfyUISettings, Settings
from tabario.slots.resume import CRASH_SETTLES
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.engine import forks
from tests.support.jobs import new_job, settings_for
from tests.support.orchestrator import end_all_runs, prefect_client
from tests.support.servers import PrefectServer, RedisServer, running
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def prefect_at(prefect_server: PrefectServer) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        yield


@pytest.fixture
def comfyui(tmp_path: Path) -> Iterator[ComfyUIServer]:
    with comfyui_running(tmp_path / "comfyui", image_seconds=3) as server:
        yield server


@pytest.fixture
def settings(
    prefect_server: PrefectServer, redis_server: RedisServer, comfyui: ComfyUIServer, tmp_path: Path
) -> Settings:
    return settings_for(
        prefect_url=prefect_server.api_url,
        redis_url=f"{redis_server.url[:-1]}5",
        directory=tmp_path,
        comfyui=ComfyUISettings(url=comfyui.url),
    )


@pytest.fixture
async def quiet_prefect(prefect_server: PrefectServer) -> None:
    """No run that another test left behind: the worker would take it."""
    async with prefect_client(prefect_server.api_url) as http:
        await end_all_runs(http)


@pytest.fixture
def worker(
    quiet_prefect: None,  # noqa: ARG001 - nobody else's runs
    prefect_server: PrefectServer,
    tmp_path: Path,
    settings: Settings,
) -> Iterator[None]:
    (tmp_path / "multiproc").mkdir()
    environment = {
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_HOME": str(tmp_path / "worker"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "multiproc"),
        "TABARIO_STATE_DIR": str(settings.core.state_dir),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", names.WORK_POOL, "--type", "process"]
    with running(command, environment=environment, log=tmp_path / "worker.log", grace=1):
        yield


async def create_run(job: Job) -> UUID:
    async with get_client() as client:
        found = await client.read_deployment_by_name(names.DEPLOYMENT_PATH)
        run = await client.create_flow_run_from_deployment(
            found.id, parameters={"job": job.model_dump(mode="json")}, name=names.workflow_id(job.user_id, job.run_id)
        )
    return run.id


async def read_run(run_id: UUID) -> FlowRun:
    async with get_client() as client:
        return await client.read_flow_run(run_id)


async def await_state(run_id: UUID, state: StateType, *, within: float) -> FlowRun:
    async def is_there() -> bool:
        return (await read_run(run_id)).state_type is state

    await eventually(is_there, within=within, what=f"the run is {state.value}")
    return await read_run(run_id)


async def await_settled_crash(run_id: UUID) -> None:
    """Waits as the keeper does: a worker may report a crash twice, and its second report overrules a resume."""

    async def has_settled() -> bool:
        state = (await read_run(run_id)).state
        return state is not None and state.is_crashed() and datetime.now(UTC) - state.timestamp >= CRASH_SETTLES

    await eventually(has_settled, within=30, what="the crash has settled")


async def read_queue(comfyui: ComfyUIServer) -> dict[str, list[object]]:
    async with httpx.AsyncClient() as client:
        queue: dict[str, list[object]] = (await client.get(f"{comfyui.url}/queue")).json()
    return queue


async def await_painting(comfyui: ComfyUIServer) -> None:
    async def paints() -> bool:
        return bool((await read_queue(comfyui))["queue_running"])

    await eventually(paints, within=90, what="ComfyUI paints")


@pytest.mark.usefixtures("worker")
async def test_cancelling_a_run_ends_its_process_and_its_pictures(settings: Settings, comfyui: ComfyUIServer) -> None:
    comfyui.arm("hang", times=9)
    await deploy(settings)
    job = new_job()
    run_id = await create_run(job)
    await await_painting(comfyui)
    process = process_of(await read_run(run_id))
    [fork] = forks(psutil.process_iter(), str(run_id))

    async with get_client() as client:
        await client.set_flow_run_state(run_id, Cancelling())

    cancelled = await await_state(run_id, StateType.CANCELLED, within=20)
    assert cancelled.name == names.workflow_id(job.user_id, job.run_id)
    process.wait(10)
    assert not fork.is_running()
    assert await read_queue(comfyui) == {"queue_running": [], "queue_pending": []}


@pytest.mark.usefixtures("worker")
async def test_a_flow_run_keeps_out_of_the_metrics_of_other_processes(
    settings: Settings, comfyui: ComfyUIServer
) -> None:
    await deploy(settings)
    run_id = await create_run(new_job())
    await await_painting(comfyui)

    [fork] = forks(psutil.process_iter(), str(run_id))

    assert "PROMETHEUS_MULTIPROC_DIR" not in fork.environ()
    await await_state(run_id, StateType.COMPLETED, within=60)


@pytest.mark.usefixtures("worker")
async def test_a_killed_run_is_reported_and_taken_over_without_painting_twice(
    settings: Settings, comfyui: ComfyUIServer
) -> None:
    await deploy(settings)
    run_id = await create_run(new_job())
    await await_painting(comfyui)

    process_of(await read_run(run_id)).kill()
    await await_settled_crash(run_id)
    async with get_client() as client:
        await client.set_flow_run_state(run_id, Scheduled(name="AwaitingRetry"), force=True)

    resumed = await await_state(run_id, StateType.COMPLETED, within=90)
    assert resumed.run_count == 2
    assert comfyui.images_painted() == 2


def process_of(run: FlowRun) -> psutil.Process:
    assert run.infrastructure_pid is not None
    return psutil.Process(int(run.infrastructure_pid.rpartition(":")[2]))
