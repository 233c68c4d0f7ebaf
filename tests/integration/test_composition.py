"""docker-compose.yml started as processes: its own commands, environment, secrets and health checks, to a film."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from uuid import uuid4

import httpx
import pytest

from tabario.cli.secret_files import GIVEN, OPTIONAL, make_secrets
from tabario.tiers import Tier
from tests.support.composition import Composition, read_compose
from tests.support.issuer import Issuer, issuer_running
from tests.support.jobs import new_job
from tests.support.postgresql import find_postgresql, unprivileged_directory
from tests.support.waiting import eventually

NOT_HERE: Final = {"grafana"}
"""Grafana cannot be had here: its files are held to their schemas elsewhere."""

READ_BY_ALL: Final = ("redis_password", "prefect_auth", "supabase_secret_key", "link_key", "webhook_secret")

ONE_OFF: Final = ("check", "migrate", "deploy", "rules")

WEAK: Final = {
    "prefect_auth": "tabario:changeme",
    "link_key": "password" * 4,
    "webhook_secret": f"whsec_{base64.b64encode(bytes(24)).decode()}",
}
"""Weak secrets that fit their form; of the others `changeme` is one."""

pytestmark = [
    pytest.mark.skipif(find_postgresql() is None, reason="there is no PostgreSQL here: install postgresql"),
    pytest.mark.timeout(1200),  # a busy machine takes minutes to start all of it
]


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with issuer_running() as running:
        yield running


@pytest.fixture(scope="module")
def composition(issuer: Issuer) -> Iterator[Composition]:
    """Every service of the file that can be had here, healthy."""
    variables = {
        "PUBLIC_URL": "https://films.example",
        "SUPABASE_URL": issuer.project,
        "COMFYUI_URL": "http://comfyui:8188",
    }
    with unprivileged_directory() as directory:
        list(make_secrets(directory / "secrets"))
        (directory / "secrets" / GIVEN).write_text("sb_secret_made_up_for_this_test")
        composition = Composition(directory, read_compose(variables))
        with composition.stack:
            for service in composition.in_order(without=NOT_HERE):
                if service in ONE_OFF:
                    composition.run(service)
                else:
                    composition.start(service)
            yield composition


async def test_a_job_becomes_a_film(composition: Composition, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(str(uuid4()), Tier.PREMIUM)}"}
    address = f"http://{composition.address('front-door')}:8000"
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
        body = {**new_job().spec.model_dump(mode="json"), "run_id": "lisbon"}
        reply = await client.post("/orchestrate/start", json=body)
        assert reply.status_code == 202, reply.text

        async def is_over() -> bool:
            state = (await client.get("/orchestrate/status/lisbon")).json()["state"]
            return state in {"completed", "failed", "crashed"}

        await eventually(is_over, within=240, what="the job is over")
        status = (await client.get("/orchestrate/status/lisbon")).json()
        film = await client.get("/orchestrate/video/lisbon")

    assert status["state"] == "completed", status
    assert status["film"]["url"].startswith("https://films.example/")
    assert film.content[4:8] == b"ftyp"


async def test_the_doctor_finds_no_fault_but_that_the_project_is_made_up(composition: Composition) -> None:
    findings = json.loads(composition.execute("worker", "tabario", "doctor", "--json").stdout)
    verdicts = {finding["check"]: finding["verdict"] for finding in findings}
    assert {check for check, verdict in verdicts.items() if verdict == "fail"} <= {"supabase"}, findings
    for check in ("prefect-auth", "prefect-leases", "redis-password", "redis-persistence", "deployment", "workers"):
        assert verdicts[check] == "ok", findings


async def test_every_process_listens_on_its_own_address_and_on_the_ports_meant(composition: Composition) -> None:
    meant: dict[str, set[int]] = {
        "postgres": {5432},
        "redis": {6379},
        "prefect-server": {4200},
        "prefect-services": set(),
        "worker": {8080},
        "front-door": {8000},
        "exporter": {9108},
        "prometheus": {9090},
        "alertmanager": {9093},
        "comfyui": {8188},
    }
    assert set(composition.processes) == set(meant)
    for service, ports in meant.items():
        expected = {(composition.address(service), port) for port in ports}
        # Prefect's worker talks to its flows over its own container's loopback, which nobody else reaches.
        reachable = {(host, port) for host, port in composition.listening(service) if host != "127.0.0.1"}
        assert reachable == expected, service


async def test_prefect_serves_its_page_from_where_its_container_may_write(composition: Composition) -> None:
    directory = composition.services["prefect-server"]["environment"]["PREFECT_SERVER_UI_STATIC_DIRECTORY"]
    copied = composition.path("prefect-server", directory)
    address = f"http://{composition.address('prefect-server')}:4200"
    async with httpx.AsyncClient(base_url=address, timeout=10, follow_redirects=True) as browser:
        page = await browser.get("/", headers={"Accept": "text/html"})
        settings = (await browser.get("/ui-settings")).raise_for_status().json()
    assert page.status_code == 200, page.text
    assert page.text in {path.read_text() for path in copied.rglob("index.html")}
    assert settings["api_url"] == "http://127.0.0.1:4200/api"
    assert settings["auth"] == "BASIC"


async def test_nobody_is_served_without_a_secret(composition: Composition) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        prefect = f"http://{composition.address('prefect-server')}:4200/api"
        assert (await client.post(f"{prefect}/flow_runs/filter", json={})).status_code == 401
        door = f"http://{composition.address('front-door')}:8000"
        assert (await client.get(f"{door}/orchestrate/runs")).status_code == 401
        assert (await client.get(f"{door}/metrics")).status_code == 401


async def test_the_exporter_sees_the_system(composition: Composition) -> None:
    address = f"http://{composition.address('exporter')}:9108/metrics"

    async def sees_a_worker() -> bool:
        async with httpx.AsyncClient(timeout=10) as client:
            return "worker_active 1.0" in (await client.get(address)).text

    await eventually(sees_a_worker, within=60, what="the exporter sees the worker")


async def test_prometheus_sees_every_target_and_knows_its_alertmanager(composition: Composition) -> None:
    address = f"http://{composition.address('prometheus')}:9090/api/v1"

    async def all_is_up() -> bool:
        async with httpx.AsyncClient(timeout=10) as client:
            targets = (await client.get(f"{address}/targets")).json()["data"]["activeTargets"]
            managers = (await client.get(f"{address}/alertmanagers")).json()["data"]["activeAlertmanagers"]
        return bool(targets) and {target["health"] for target in targets} == {"up"} and len(managers) == 1

    await eventually(all_is_up, within=90, what="Prometheus sees every target up")


@pytest.mark.parametrize("secret", READ_BY_ALL)
@pytest.mark.parametrize("service", ["front-door", "deploy"])
async def test_an_empty_secret_stops_the_start(composition: Composition, service: str, secret: str) -> None:
    with replaced(composition, secret, ""):
        assert secret.split("_", maxsplit=1)[0].upper() in refusal(composition, service)


@pytest.mark.parametrize("service", ["front-door", "deploy"])
async def test_weak_secrets_stop_the_start_and_are_not_told(composition: Composition, service: str) -> None:
    weak = {secret: WEAK.get(secret, "changeme") for secret in READ_BY_ALL if secret != GIVEN}
    with ExitStack() as stack:
        for secret, text in weak.items():
            stack.enter_context(replaced(composition, secret, text))
        said = refusal(composition, service)
    assert not [text for text in weak.values() if text in said]


async def test_every_secret_is_looked_at_before_anything_starts(composition: Composition) -> None:
    composition.run("check")
    needed = composition.compose["secrets"].keys() - OPTIONAL
    weak = {secret: WEAK.get(secret, "changeme") for secret in needed - {GIVEN}}
    for contents in (dict.fromkeys(needed, ""), weak):
        with ExitStack() as stack:
            for secret, text in contents.items():
                stack.enter_context(replaced(composition, secret, text))
            said = refusal(composition, "check")
        assert set(re.findall(r"Set secrets/(\w+):", said)) == contents.keys()
        assert not [text for text in contents.values() if text and text in said]
    composition.run("check")


@contextmanager
def replaced(composition: Composition, secret: str, contents: str) -> Iterator[None]:
    """A secret's file with other contents while the block runs."""
    path = composition.directory / "secrets" / secret
    before = path.read_text()
    try:
        path.write_text(contents)
        yield
    finally:
        path.write_text(before)


def refusal(composition: Composition, service: str) -> str:
    """What a service says as it refuses to start."""
    refused = composition.execute(service)
    sentence = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "Set " in sentence
    assert "Traceback" not in sentence
    return sentence
