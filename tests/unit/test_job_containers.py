"""A container for each job: what Prefect's own docker worker makes of our job variables."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import NonCallableMock
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration

from tabario import names
from tabario.cli.infrastructure import base_job_template, job_variables
from tabario.errors import ConfigurationError
from tabario.settings import ComfyUISettings, MediaSettings, Settings, TracingSettings, WorkPoolSettings, WorkPoolType
from tabario.settings_source import read_group
from tests.support.composition import ROOT, overlaid, read_compose
from tests.support.jobs import settings_for
from tests.unit.test_composition import DOCKER_FILE, VARIABLES

API_URL = "http://prefect-server:4200/api"


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = overlaid(read_compose(VARIABLES), read_compose(VARIABLES, DOCKER_FILE))
    return found


@pytest.fixture
def settings(services: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What `tabario deploy` reads in the composition, and secrets that no container may be given this way."""
    for variable, value in services["services"]["deploy"]["environment"].items():
        if variable.startswith("TABARIO_POOL_"):
            monkeypatch.setenv(variable, value)
    media = MediaSettings.model_validate(
        {
            "bucket": "films",
            "access_key": "AKIA0",
            "secret_key": "s3-secret",
            "quality": "high",
            "hardware_encoder": False,
        }
    )
    found = settings_for(
        prefect_url=API_URL,
        redis_url="redis://:redis-secret@redis:6379/1",
        directory=tmp_path,
        comfyui=ComfyUISettings(url="http://127.0.0.1:8188"),
    )
    update = {"media": media, "work_pool": WorkPoolSettings(), "tracing": TracingSettings()}
    return found.model_copy(update=update)


@pytest.fixture
def container(settings: Settings) -> dict[str, Any]:
    """What the worker asks the Docker engine for. No engine is asked: it would only tell its version."""
    run = FlowRun(id=uuid4(), name="tabario-user-7d0c-lisbon", flow_id=uuid4())
    with temporary_settings({PREFECT_API_URL: API_URL, PREFECT_API_AUTH_STRING: "tabario:prefect-secret"}):
        configuration = asyncio.run(
            DockerWorkerJobConfiguration.from_template_and_values(
                base_job_template(WorkPoolType.DOCKER), job_variables(settings)
            )
        )
        configuration.prepare_for_flow_run(run)
        worker = DockerWorker(work_pool_name=names.WORK_POOL, test_mode=True)
        made: dict[str, Any] = worker._build_container_settings(NonCallableMock(), configuration)
    return made | {"networks": configuration.networks}


def test_a_job_finds_what_the_worker_of_a_process_pool_finds(
    container: dict[str, Any], services: dict[str, Any]
) -> None:
    worker = services["services"]["worker"]
    named = {
        kind: {name: one["name"] for name, one in services[kind].items() if "name" in (one or {})}
        for kind in ("networks", "volumes")
    }
    pairs = [volume.partition(":") for volume in worker["volumes"] if ":" in volume]
    mounted = {path: source for source, _, path in pairs if not path.endswith(".sock")}  # the overlay's count

    assert container["image"] == worker["image"]
    assert container["networks"] == [named["networks"][name] for name in worker["networks"]]
    assert container["volumes"] == [f"{named['volumes'][name]}:{path}" for path, name in mounted.items()]
    assert container["command"] == "python -m prefect.engine"
    assert container["environment"]["PREFECT_API_URL"] == API_URL
    assert container["environment"]["TABARIO_MEDIA_QUALITY"] == "high"
    assert container["environment"]["TABARIO_MEDIA_HARDWARE_ENCODER"] == "false"


def test_a_job_has_no_rights_and_leaves_nothing_behind(container: dict[str, Any]) -> None:
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert not container["privileged"]
    assert container["mem_limit"] == "2g"
    assert container["auto_remove"]


def test_no_secret_is_a_job_variable(settings: Settings) -> None:
    variables = str(job_variables(settings))
    assert "secret" not in variables
    assert "AKIA0" not in variables


def test_what_a_container_is_told_is_understood(container: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in container["environment"].items():
        if variable.startswith("TABARIO_"):
            monkeypatch.setenv(variable, value)
    media = read_group(MediaSettings)
    assert (media.bucket, media.quality, media.hardware_encoder) == ("films", "high", False)


def test_containers_need_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABARIO_POOL_TYPE", "docker")
    with pytest.raises(ConfigurationError, match=r"Set TABARIO_POOL_IMAGE .*TABARIO_POOL_TYPE=process"):
        read_group(WorkPoolSettings)


def test_prefect_yaml_shows_the_same_variant(settings: Settings) -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["definitions"]["docker"]
    assert declared == {**job_variables(settings), "env": {}}
