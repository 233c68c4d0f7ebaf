"""A front door with two users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from tests.support.front_door import FrontDoor, front_door
from tests.support.tokens import OTHER_USER


@pytest.fixture
async def door(redis: Redis, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(redis, tmp_path, public_url="https://films.example/") as opened:
        yield opened


@pytest.fixture
async def client(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as opened:
        yield opened


@pytest.fixture
async def stranger(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client(user_id=OTHER_USER) as opened:
        yield opened
