"""A proxy before the Prefect API that loses replies at an exact point.

Each request is answered on a connection of its own. A trap waits for one request: the proxy lets the server act on it
(or keeps it from the server), strikes, and closes the connection without a word.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

LOOPBACK: Final = "127.0.0.1"
LARGEST_HEAD: Final = 2**16
UNREACHABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONNECTION: Final = re.compile(rb"^connection:[^\r\n]*\r\n", re.IGNORECASE | re.MULTILINE)
_LENGTH: Final = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_UPGRADE: Final = re.compile(rb"^upgrade: *websocket", re.IGNORECASE | re.MULTILINE)


def nothing() -> None:
    """The strike of a trap that only loses the reply."""


@dataclass(frozen=True)
class Trap:
    """Waits for a POST whose path ends with `path` and whose body holds `body`.

    The server's reply must be a success that holds `reply`; then `strike` is called and the reply is lost. With
    `forward` false the request itself is lost, after the strike.
    """

    path: str
    body: str
    reply: bytes = b""
    strike: Callable[[], None] = nothing
    forward: bool = True
    sprung: asyncio.Event = field(default_factory=asyncio.Event)

    def fits(self, request: Request) -> bool:
        return (
            request.method == b"POST"
            and request.path.endswith(self.path.encode())
            and self.body.encode() in request.body
        )

    def wants(self, reply: bytes) -> bool:
        return reply.startswith(b"HTTP/1.1 2") and self.reply in reply


class Request(NamedTuple):
    """One HTTP request as it came."""

    method: bytes
    path: bytes
    head: bytes
    body: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Self:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b" ", 2)
        length = _LENGTH.search(head)
        return cls(method, path, head, await reader.readexactly(int(length[1])) if length else b"")

    @property
    def is_upgrade(self) -> bool:
        return _UPGRADE.search(self.head) is not None

    def last_on_its_connection(self) -> bytes:
        line, rest = self.head.split(b"\r\n", 1)
        return line + b"\r\nConnection: close\r\n" + _CONNECTION.sub(b"", rest) + self.body


class Proxy:
    """Stands before the server on loopback port `upstream`."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._traps: list[Trap] = []
        self._conversations: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks weakly

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        """Serves until the block ends."""
        server = await asyncio.start_server(self._hold, LOOPBACK, port, limit=LARGEST_HEAD)
        try:
            yield
        finally:
            server.close()

    @asynccontextmanager
    async def trapping(self, trap: Trap) -> AsyncIterator[Trap]:
        """The trap is set until it has sprung or the block ends."""
        self._traps.append(trap)
        try:
            yield trap
        finally:
            if trap in self._traps:
                self._traps.remove(trap)

    def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.create_task(self._serve(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            request = await Request.read(reader)
            if request.is_upgrade:
                await self._join(request, reader, writer)
            else:
                writer.write(await self._answer(request))
                await writer.drain()
        writer.close()

    async def _answer(self, request: Request) -> bytes:
        """What the client gets; nothing when the reply is lost."""
        trap = next((trap for trap in self._traps if trap.fits(request)), None)
        if trap and not trap.forward:
            return self._spring(trap)
        reply = await self._ask(request)
        if trap in self._traps and trap.wants(reply):
            return self._spring(trap)
        return reply

    def _spring(self, trap: Trap) -> bytes:
        self._traps.remove(trap)
        trap.strike()
        trap.sprung.set()
        return b""

    async def _ask(self, request: Request) -> bytes:
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self._upstream)
        except OSError:
            return UNREACHABLE
        try:
            writer.write(request.last_on_its_connection())
            return await reader.read()
        finally:
            writer.close()

    async def _join(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lets bytes through both ways until one side ends."""
        up_reader, up_writer = await asyncio.open_connection(LOOPBACK, self._upstream)
        up_writer.write(request.head)
        pumps = [asyncio.create_task(_pump(reader, up_writer)), asyncio.create_task(_pump(up_reader, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        up_writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(2**16):
            sink.write(data)
            await sink.drain()
