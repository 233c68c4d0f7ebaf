"""The parts of one stand-in, put together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tabario.embedded.comfyui.directories import Directories
from tabario.embedded.comfyui.evaluation import Workshop
from tabario.embedded.comfyui.executor import Executor
from tabario.embedded.comfyui.faults import Faults
from tabario.embedded.comfyui.journal import Journal
from tabario.embedded.comfyui.queue import PromptQueue
from tabario.embedded.comfyui.sockets import Sockets
from tabario.embedded.comfyui.versions import Version


class StandIn:
    """One server: its queue, executor, sockets, files and faults."""

    def __init__(self, directory: Path, *, image_seconds: float, version: Version) -> None:
        self.version = version
        self.directories = Directories(directory)
        self.faults = Faults()
        self.journal = Journal(directory / "log.jsonl")
        self.sockets = Sockets()
        self.queue = PromptQueue(on_change=self._tell_remaining)
        self.executor = Executor(
            queue=self.queue,
            sockets=self.sockets,
            workshop=Workshop(self.directories, self.faults, image_seconds=image_seconds),
            directories=self.directories,
            faults=self.faults,
            journal=self.journal,
        )
        self._running: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Runs the executor and the websockets' publisher until the block ends."""
        publisher = asyncio.create_task(self.sockets.publish(), name="publisher")
        self._start()
        try:
            yield
        finally:
            await self._stop()
            await _cancelled(publisher)

    async def restart(self) -> None:
        """What a restart of the server does: everything but the files is forgotten, a dead executor lives again."""
        await self._stop()
        await self.executor.forget()
        self._start()

    def status(self) -> dict[str, dict[str, int]]:
        """The answer of GET /prompt, which the status message repeats."""
        return {"exec_info": {"queue_remaining": self.queue.remaining}}

    def _tell_remaining(self) -> None:
        self.sockets.send("status", {"status": self.status()})

    def _start(self) -> None:
        self._running = asyncio.create_task(self.executor.run(), name="executor")

    async def _stop(self) -> None:
        if self._running is not None:
            await _cancelled(self._running)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
