"""The way to a server, which a test can block: the server itself goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import httpx

LOOPBACK: Final = "127.0.0.1"


class Relay:
    """Passes bytes on to a loopback server. `attempts` counts the connections that came while it was blocked."""

    def __init__(self, url: str) -> None:
        self._upstream = httpx.URL(url).port
        self._blocked = False
        self._answers = True
        self._conversations: set[asyncio.Task[None]] = set()
        self.port = 0
        self.attempts = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}"

    def cut(self) -> None:
        """Every connection ends, and new ones end at once."""
        self._block(answers=True)

    def hush(self) -> None:
        """Every connection ends; new ones stay open, and nothing comes back."""
        self._block(answers=False)

    def mend(self) -> None:
        """New connections reach the server again."""
        self._blocked = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serves until the block ends."""
        server = await asyncio.start_server(self._hold, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self._drop()

    def _block(self, *, answers: bool) -> None:
        self._blocked, self._answers = True, answers
        self._drop()

    def _drop(self) -> None:
        for conversation in self._conversations:
            conversation.cancel()

    def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.create_task(self._serve(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._blocked:
                self.attempts += 1
                if not self._answers:
                    await asyncio.Event().wait()
                return
            up_reader, up_writer = await asyncio.open_connection(LOOPBACK, self._upstream)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(_pump(reader, up_writer))
                    pumps.create_task(_pump(up_reader, writer))
            finally:
                up_writer.close()
        except asyncio.CancelledError:
            return  # this task is nobody's: whoever cancelled it wants the connection closed
        finally:
            writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(2**16):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def relay_running(url: str) -> AsyncIterator[Relay]:
    """A relay to the server at `url`."""
    relay = Relay(url)
    async with relay.serving():
        yield relay
