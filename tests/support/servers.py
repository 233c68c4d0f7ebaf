"""Real servers for tests, on free loopback ports."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx
import redis

from tabario.embedded.prefect import prefect_server_command, prefect_server_environment
from tabario.embedded.redis import find_redis_server, redis_command
from tests.support.waiting import wait_until


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], *, environment: dict[str, str], log: Path, session: bool = False, grace: float = 15
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process until the block ends; its output goes to `log`, and its last lines into what the block raises.

    `grace` is in seconds, from its SIGTERM to its SIGKILL. With a `session` of its own it gets a fair share of the CPU
    beside other sessions, however many processes they have.
    """
    variables = {**os.environ, **environment}
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output, start_new_session=session)
    try:
        yield process
    except BaseException as error:
        state = "was running" if process.poll() is None else f"had ended with {process.returncode}"
        error.add_note(f"{log.name}: {state}; its last lines:\n{_last_lines(log)}")
        raise
    finally:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_lines(log: Path, count: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


@dataclass(frozen=True)
class RedisServer:
    """A running Redis."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


KEPT: Final = "TABARIO_TEST_SERVERS"


@cache
def kept_servers() -> tuple[RedisServer, PrefectServer] | None:
    """Servers that outlive a run of the tests, where many runs follow each other: see tests/mutation.

    Of several pairs this process takes the first that no other has, and keeps it until its end.
    """
    if not (text := os.environ.get(KEPT)):
        return None
    for port, password, api_url, home in itertools.cycle(json.loads(text)):
        lock = os.open(home, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            time.sleep(0.01)
            continue
        return RedisServer(port, password), PrefectServer(api_url, Path(home))
    raise ValueError(f"{KEPT} names no servers.")


def as_kept_servers(*pairs: tuple[RedisServer, PrefectServer]) -> dict[str, str]:
    """The environment in which tests use one of these pairs and start none of their own."""
    facts = [(redis.port, redis.password, prefect.api_url, str(prefect.home)) for redis, prefect in pairs]
    return {KEPT: json.dumps(facts)}


@contextmanager
def redis_running(directory: Path, *, binary: Path | None = None) -> Iterator[RedisServer]:
    """A real Redis with AOF and a password."""
    server = RedisServer(port=free_port(), password=secrets.token_hex(16))
    command = redis_command(
        find_redis_server(binary), port=server.port, password=server.password, directory=directory / "redis"
    )
    with running(command, environment={}, log=directory / "redis.log"), redis.Redis.from_url(server.url) as client:

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        wait_until(answers, within=20, what="Redis answers")
        yield server


@dataclass(frozen=True)
class PrefectServer:
    """A running Prefect server."""

    api_url: str
    home: Path

    @property
    def database(self) -> Path:
        return self.home / "prefect.db"


@cache
def migrated_database() -> bytes:
    """Prefect's empty database. Its migrations are most of what the first start of a server costs."""
    with TemporaryDirectory() as name:
        file = Path(name) / "prefect.db"
        variables = {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{file}", "PREFECT_HOME": name}
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(command, env=os.environ | variables, capture_output=True, check=True)
        return file.read_bytes()


@contextmanager
def prefect_running(directory: Path, redis_server: RedisServer, **variables: str) -> Iterator[PrefectServer]:
    """A real Prefect server on SQLite whose leases live in `redis_server`, unless `variables` say otherwise."""
    port, home = free_port(), directory / "prefect"
    home.mkdir(parents=True)
    environment = prefect_server_environment(
        home=home, port=port, redis_port=redis_server.port, redis_password=redis_server.password, ui=False
    )
    environment |= variables
    server = PrefectServer(api_url=environment["PREFECT_API_URL"], home=home)
    if "PREFECT_API_DATABASE_CONNECTION_URL" not in variables:
        server.database.write_bytes(migrated_database())
    command = ["env", "-u", "COVERAGE_PROCESS_CONFIG", *prefect_server_command(port=port)]  # not ours to measure
    with running(command, environment=environment, log=directory / "prefect.log"):

        def answers() -> bool:
            try:
                return httpx.get(f"{server.api_url}/health", timeout=2).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        wait_until(answers, within=240, what="the Prefect server answers")
        yield server
