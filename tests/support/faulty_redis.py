"""A real Redis that a test can hang, kill, restart and set back to an older file."""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tabario.embedded.redis import find_redis_server, redis_command
from tests.support.servers import free_port
from tests.support.waiting import wait_until


class FaultyRedis:
    """Keeps its port, password and files from one start to the next."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port, self._password = free_port(), secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Starts it from its files and waits until it answers."""
        command = redis_command(
            find_redis_server(), port=self._port, password=self._password, directory=self._directory / "redis"
        )
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        with redis.Redis.from_url(self.url) as client:

            def answers() -> bool:
                try:
                    return bool(client.ping())
                except redis.ConnectionError:
                    return False

            wait_until(answers, within=20, what="Redis answers")
            # What a test saw answered must survive a kill, or the test could not know the truth.
            client.config_set("appendfsync", "always")

    def kill(self) -> None:
        """Ends it at once. Safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Stops it so that connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def back_up(self) -> Path:
        """A copy of its files, complete because every answered write is on disk."""
        copy = self._directory / f"backup-{secrets.token_hex(4)}"
        shutil.copytree(self._directory / "redis", copy)
        return copy

    def restore(self, copy: Path) -> None:
        """Kills it, puts older files back and starts it."""
        self.kill()
        shutil.rmtree(self._directory / "redis")
        shutil.copytree(copy, self._directory / "redis")
        self.start()


@contextmanager
def faulty_redis_running(directory: Path) -> Iterator[FaultyRedis]:
    """A Redis of its own for one test."""
    server = FaultyRedis(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()
