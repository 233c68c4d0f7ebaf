"""Fixtures that all tests share: one real Redis and one real Prefect server per session."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from functools import wraps
from inspect import iscoroutinefunction
from typing import Final

import anyio
import hypothesis
import pytest
from redis.asyncio import Redis
from xdist.scheduler import LoadFileScheduling

from tests.support.servers import PrefectServer, RedisServer, kept_servers, prefect_running, redis_running

# Everything that tests talk to is on loopback, and each client would spend 50 ms on certificates that none needs.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.devnull

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


END_TO_END: Final = "tests/e2e/"
SHARE_OF_TIMEOUT: Final = 0.9


class OneStack(LoadFileScheduling):  # type: ignore[misc]  # xdist ships no types
    """Gives each file to one process, and all end-to-end tests to the same: they share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        return END_TO_END if nodeid.startswith(END_TO_END) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneStack | None:
    """Stands in for `--dist loadfile`."""
    return OneStack(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Cancels an async test shortly before its timeout.

    pytest-timeout only interrupts the loop; the test would hang on in it, and the end of its fixtures wait for that.
    """
    test = pyfuncitem.obj
    if not iscoroutinefunction(test) or hasattr(test, "hypothesis"):
        return
    marker = pyfuncitem.get_closest_marker("timeout")
    timeout = float(marker.args[0] if marker else pyfuncitem.config.getini("timeout"))

    @wraps(test)
    async def bounded(**fixtures: object) -> None:
        with anyio.fail_after(timeout * SHARE_OF_TIMEOUT):
            await test(**fixtures)

    pyfuncitem.obj = bounded


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
