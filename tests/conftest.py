"""Fixtures that all tests share: one real Redis and one real Prefect server per session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator

import hypothesis
import pytest
from redis.asyncio import Redis

from tests.support.servers import PrefectServer, RedisServer, kept_servers, prefect_running, redis_running

hypothesis.settings.register_profile("busy machine", deadline=None)  # tests assert behaviour, benchmarks measure time
hypothesis.settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the session; tests use keys or databases of their own."""
    if kept := kept_servers():
        yield kept[0]
        return
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
    if kept := kept_servers():
        yield kept[1]
        return
    with prefect_running(tmp_path_factory.mktemp("prefect"), redis_server) as server:
        yield server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test fails the run")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On a machine that has every tool, a skipped test means that one went missing."""
    report = yield
    if report.skipped and item.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but every tool must be here: {report.longrepr}"
    return report
