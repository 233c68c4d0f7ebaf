"""Starts services in order, keeps them running, and ends them in reverse.

A service that ends by itself is started again after a pause that doubles each time, up to `LONGEST_PAUSE`; the pause
is short again once it has been up for `STABLE_AFTER`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from tabario.embedded.processes import child_environment, end_tree, spawn
from tabario.errors import RetryLater, TabarioError

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
STABLE_AFTER: Final = 60.0
TRIES_TO_START: Final = 3
STOP_GRACE: Final = 12.0


@dataclass(frozen=True)
class Service:
    """A server process. `is_ready` asks it once; `start_timeout` is in seconds."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]]
    start_timeout: float = 60


class Listener(Protocol):
    """Is told what happens to the services."""

    def started(self, service: str, *, seconds: float) -> None:
        """A service answers."""

    def ended(self, service: str, *, code: int, pause: float) -> None:
        """A service ended by itself and will be started again after `pause` seconds."""


class ServiceDidNotStart(TabarioError):
    """A service did not become ready; the message names its log."""

    code = "service_did_not_start"


@dataclass
class Supervisor:
    """Owns the running services. `mark` names the stack in every process's environment."""

    mark: str
    directory: Path
    log: Callable[[str], Path]
    listener: Listener
    _kept: list[_Kept] = field(default_factory=list)

    async def start(self, service: Service) -> None:
        """Starts a service and returns once it is ready. Raises ServiceDidNotStart."""
        kept = _Kept(service, self)
        self._kept.append(kept)
        await kept.start()

    async def stop(self) -> None:
        """Ends all services, the last started first."""
        while self._kept:
            await self._kept.pop().stop()


class _Kept:
    """One service and the task that keeps it running."""

    def __init__(self, service: Service, owner: Supervisor) -> None:
        self._service = service
        self._owner = owner
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for attempt in range(1, TRIES_TO_START + 1):
            try:
                process = await self._launch()
            except RetryLater:
                if attempt == TRIES_TO_START:
                    log = self._owner.log(self._service.name)
                    raise ServiceDidNotStart(f"{self._service.name} did not start; its log says why: {log}") from None
            else:
                self._keeping = asyncio.create_task(self._keep(process), name=f"keep {self._service.name}")
                return

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._end()

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        pause = FIRST_PAUSE
        since = time.monotonic()
        while True:
            code = await process.wait()
            pause = FIRST_PAUSE if time.monotonic() - since > STABLE_AFTER else min(pause * 2, LONGEST_PAUSE)
            self._owner.listener.ended(self._service.name, code=code, pause=pause)
            await asyncio.sleep(pause)
            since = time.monotonic()
            try:
                process = await self._launch()
            except RetryLater:
                continue

    async def _launch(self) -> asyncio.subprocess.Process:
        """One start. Raises RetryLater when the process ends, or is not ready in time."""
        begun = time.monotonic()
        process = self._process = await spawn(
            self._service.command,
            environment=child_environment(self._owner.mark, self._service.environment),
            log=self._owner.log(self._service.name),
            cwd=self._owner.directory,
        )
        try:
            async with asyncio.timeout(self._service.start_timeout):
                while not await self._service.is_ready():
                    if process.returncode is not None:
                        raise RetryLater(f"{self._service.name} ended with code {process.returncode}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await self._end()
            raise RetryLater(f"{self._service.name} was not ready in time") from None
        if process.returncode is not None:
            raise RetryLater(f"{self._service.name} ended: something else answers on its port")
        self._owner.listener.started(self._service.name, seconds=time.monotonic() - begun)
        return process

    async def _end(self) -> None:
        if self._process is not None:
            await end_tree(self._process, grace=STOP_GRACE)
