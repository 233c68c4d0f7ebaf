"""Fixtures that all tests share: one real Redis and one real Prefect server per session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from tests.support.servers import PrefectServer, RedisServer, prefect_running, redis_running


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the session; tests use keys or databases of their own."""
    with redis_running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of an empty database (number 5, so that Prefect's leases in database 0 stay)."""
    client = Redis.from_url(f"{redis_server.url[:-1]}5", decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[PrefectServer]:
    """One real Prefect server on SQLite for the session."""
    with prefect_running(tmp_path_factory.mktemp("prefect"), redis_server) as server:
        yield server
