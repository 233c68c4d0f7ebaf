"""`tabario deploy` and prefect.yaml against a real Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.comfyui import ComfyUI
from blocks.loading import load
from tabario import names
from tabario.cli.deployment import Outcome, deploy, deployment, prune_deployment
from tabario.cli.infrastructure import job_variables
from tabario.errors import ConfigurationError
from tabario.settings import ComfyUISettings, Settings, VoiceSettings, WorkPoolSettings
from tabario.tiers import Tier
from tests.support.jobs import new_job, settings_for
from tests.support.servers import PrefectServer, RedisServer, prefect_running
from tests.support.waiting import eventually

PROJECT = Path(__file__).parents[2]
CONTAINERS = WorkPoolSettings.model_validate({"type": "docker", "image": "tabario-flows:0.1.0"})


@pytest.fixture(autouse=True)
def prefect_at(prefect_server: PrefectServer) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        yield


@pytest.fixture
def settings(prefect_server: PrefectServer, redis_server: RedisServer, tmp_path: Path) -> Settings:
    return settings_for(
        prefect_url=prefect_server.api_url,
        redis_url=redis_server.url,
        directory=tmp_path,
        comfyui=ComfyUISettings(url="http://127.0.0.1:8188"),
    )


async def test_a_repeated_deployment_changes_nothing(settings: Settings) -> None:
    await deploy(settings)

    again = await deploy(settings)

    assert [change.kind for change in again] == [*["block"] * 4, "work pool", *["work queue"] * 2, *["deployment"] * 2]
    assert {change.outcome for change in again} == {Outcome.UNCHANGED}


async def test_a_changed_setting_reaches_its_block(settings: Settings) -> None:
    await deploy(settings)
    moved = settings.model_copy(update={"comfyui": ComfyUISettings(url="http://127.0.0.1:9999")})

    changes = {change.name: change.outcome for change in await deploy(moved)}

    assert changes.pop("tabario-comfyui/tabario") is Outcome.UPDATED
    assert set(changes.values()) == {Outcome.UNCHANGED}
    assert (await load(ComfyUI, names.COMFYUI_BLOCK)).url == "http://127.0.0.1:9999"


async def test_a_difference_is_shown_and_not_written_when_that_is_asked(settings: Settings) -> None:
    await deploy(settings)
    voice = VoiceSettings.model_validate({"engine": "openai", "url": "https://voice.example", "api_key": "sk-secret"})
    changed = settings.model_copy(update={"work_pool": WorkPoolSettings(limit=3), "voice": voice})

    shown = "\n".join(str(change) for change in await deploy(changed, write=False))

    assert "work pool tabario: updated\n    concurrency_limit: 8 -> 3" in shown
    assert "    engine: espeak -> openai" in shown
    assert "    api_key: None -> (a secret)" in shown
    assert "sk-secret" not in shown
    assert {change.outcome for change in await deploy(settings)} == {Outcome.UNCHANGED}


async def test_of_what_a_run_is_started_with_only_that_which_differs_is_shown(settings: Settings) -> None:
    await deploy(settings)
    async with get_client() as client:
        found = await client.read_deployment_by_name(names.DEPLOYMENT_PATH)
        changed = {**found.job_variables, "command": "sleep 1", "image": "another"}
        await client.update_deployment(found.id, DeploymentUpdate(job_variables=changed))

    shown = "\n".join(str(change) for change in await deploy(settings, write=False))

    assert "    job_variables.command: sleep 1 -> " in shown
    assert "    job_variables.image: another -> None" in shown
    assert "working_dir" not in shown
    await deploy(settings)


async def test_the_scheduler_makes_runs_of_the_nightly_pruning(settings: Settings) -> None:
    await deploy(settings)

    async def a_run_is_planned() -> bool:
        async with get_client() as client:
            daily = await client.read_deployment_by_name(f"{names.PRUNE_FLOW}/{names.PRUNE_DEPLOYMENT}")
            wanted = DeploymentFilter(id=DeploymentFilterId(any_=[daily.id]))
            runs = await client.read_flow_runs(deployment_filter=wanted)
        return any(run.auto_scheduled for run in runs)

    await eventually(a_run_is_planned, within=120, what="Prefect has planned a run")


async def test_two_deployments_at_once_end_in_the_same_place(settings: Settings) -> None:
    await asyncio.gather(deploy(settings), deploy(settings))

    assert {change.outcome for change in await deploy(settings)} == {Outcome.UNCHANGED}


async def test_a_block_that_was_never_saved_asks_for_a_deployment() -> None:
    with pytest.raises(ConfigurationError, match="run `tabario deploy`"):
        await load(ComfyUI, "never-saved")


async def test_the_premium_queue_goes_first(settings: Settings) -> None:
    await deploy(settings)

    async with get_client() as client:
        queues = {queue.name: queue.priority for queue in await client.read_work_queues(names.WORK_POOL)}

    assert queues["premium"] == 1
    assert queues["standard"] == 2


async def test_a_run_with_a_wrong_job_is_refused(settings: Settings) -> None:
    await deploy(settings)
    job = new_job().model_dump(mode="json")

    async with get_client() as client:
        found = await client.read_deployment_by_name(names.DEPLOYMENT_PATH)
        run = await client.create_flow_run_from_deployment(
            found.id, parameters={"job": job}, work_queue_name=names.WORK_QUEUES[Tier.PREMIUM]
        )
        assert run.work_queue_name == "premium"
        with pytest.raises(Exception, match="job"):
            await client.create_flow_run_from_deployment(found.id, parameters={"job": {**job, "tier": "gold"}})
        await client.delete_flow_run(run.id)


async def test_a_pool_of_another_type_is_neither_used_nor_changed(settings: Settings) -> None:
    await deploy(settings)
    containers = settings.model_copy(update={"work_pool": CONTAINERS})

    with pytest.raises(ConfigurationError, match=r"is of type process.*TABARIO_POOL_TYPE=process"):
        await deploy(containers)

    assert {change.outcome for change in await deploy(settings)} == {Outcome.UNCHANGED}


async def test_a_pool_of_containers_is_deployed_once(redis_server: RedisServer, tmp_path: Path) -> None:
    with prefect_running(tmp_path, redis_server) as server, temporary_settings({PREFECT_API_URL: server.api_url}):
        settings = settings_for(
            prefect_url=server.api_url,
            redis_url=redis_server.url,
            directory=tmp_path,
            comfyui=ComfyUISettings(url="http://127.0.0.1:8188"),
        ).model_copy(update={"work_pool": CONTAINERS})

        first, again = await deploy(settings), await deploy(settings)

        async with get_client() as client:
            pool = await client.read_work_pool(names.WORK_POOL)
    assert pool.type == "docker"
    assert {change.outcome for change in first} == {Outcome.CREATED}
    assert {change.outcome for change in again} == {Outcome.UNCHANGED}


@pytest.mark.parametrize("number", [0, 1])
def test_prefect_yaml_says_the_same_as_the_code(settings: Settings, number: int) -> None:
    declared = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    variables = job_variables(settings)
    flow, built = [
        (names.FLOW, deployment(variables)),
        (names.PRUNE_FLOW, prune_deployment(variables)),
    ][number]
    assert len(declared) == 2
    pool: dict[str, Any] = declared[number]["work_pool"]

    assert f"{flow}/{declared[number]['name']}" == built.full_name
    assert declared[number]["entrypoint"] == built.entrypoint
    assert declared[number]["description"] == built.description
    assert declared[number]["enforce_parameter_schema"] == built.enforce_parameter_schema
    assert (pool["name"], pool["work_queue_name"]) == (built.work_pool_name, built.work_queue_name)
    assert pool["job_variables"].keys() == built.job_variables.keys()
    assert pool["job_variables"]["command"].split()[1:] == built.job_variables["command"].split()[1:]
    schedules = [schedule["cron"] for schedule in declared[number].get("schedules", ())]
    assert schedules == [getattr(schedule.schedule, "cron", None) for schedule in built.schedules or ()]
