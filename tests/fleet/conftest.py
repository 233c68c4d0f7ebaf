"""The system of docker-compose.yml with a bucket, two front doors and two workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx
import pytest

from tabario.cli.secret_files import GIVEN, make_secrets
from tests.fleet.callers import Callers, calling
from tests.fleet.database import Database
from tests.support.buckets import BUCKET, bucket_running
from tests.support.composition import COMPOSE_FILE, Composition, overlaid, read_compose
from tests.support.issuer import Issuer, issuer_running
from tests.support.postgresql import unprivileged_directory

NOT_NEEDED: Final = {"grafana", "prometheus", "alertmanager", "rules"}
ONE_OFF: Final = ("migrate", "deploy")
DOORS: Final = ("front-door", "front-door-2")


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    async with issuer_running() as running:
        yield running


@pytest.fixture(scope="session")
def composition(issuer: Issuer) -> Iterator[Composition]:
    """Every service that films need, healthy."""
    with unprivileged_directory() as directory, bucket_running(directory) as bucket:
        variables = {
            "PUBLIC_URL": "https://films.example",
            "SUPABASE_URL": issuer.project,
            "COMFYUI_URL": "http://comfyui:8188",
            "MEDIA_BUCKET": f"{BUCKET}/media",
            "MEDIA_ENDPOINT": bucket.endpoint.replace("127.0.0.1", "localhost"),
        }
        list(make_secrets(directory / "secrets"))
        for name in (GIVEN, "media_access_key", "media_secret_key"):
            (directory / "secrets" / name).write_text("sb_secret_made_up_for_this_test")
        over = read_compose(variables, COMPOSE_FILE.with_name("docker-compose.s3.yml"))
        composition = Composition(directory, overlaid(read_compose(variables), over))
        composition.scale("front-door", 2)
        composition.scale("worker", 2)
        with composition.stack:
            for service in composition.in_order(without=NOT_NEEDED):
                if service in ONE_OFF:
                    composition.run(service)
                else:
                    composition.start(service)
            yield composition


@pytest.fixture
async def callers(composition: Composition, issuer: Issuer) -> AsyncIterator[Callers]:
    async with calling([f"http://{composition.address(door)}:8000" for door in DOORS], issuer) as callers:
        yield callers


@pytest.fixture
def database(composition: Composition) -> Database:
    return Database(composition)


@pytest.fixture
async def comfyui(composition: Composition) -> AsyncIterator[httpx.AsyncClient]:
    """The stand-in, whose log tells what was painted."""
    async with httpx.AsyncClient(base_url=f"http://{composition.address('comfyui')}:8188", timeout=30) as client:
        yield client
