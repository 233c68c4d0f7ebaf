"""One installation for all tests, with two workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fleet.callers import Callers, calling
from tests.fleet.database import Database
from tests.fleet.installation import doors_of, fleet
from tests.support.composition import Composition
from tests.support.issuer import Issuer, issuer_running


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    async with issuer_running() as running:
        yield running


@pytest.fixture(scope="session")
async def composition(issuer: Issuer) -> AsyncIterator[Composition]:
    running = fleet(issuer, workers=2, variables={})
    yield await asyncio.to_thread(running.__enter__)  # meanwhile the issuer must answer
    await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.fixture
async def callers(composition: Composition, issuer: Issuer) -> AsyncIterator[Callers]:
    async with calling(doors_of(composition), issuer) as callers:
        yield callers


@pytest.fixture
def database(composition: Composition) -> Database:
    return Database(composition)


@pytest.fixture
async def comfyui(composition: Composition) -> AsyncIterator[httpx.AsyncClient]:
    """The stand-in, whose log tells what was painted."""
    async with httpx.AsyncClient(base_url=f"http://{composition.address('comfyui')}:8188", timeout=30) as client:
        yield client
