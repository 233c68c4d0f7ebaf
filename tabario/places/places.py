"""One process's places: asks the board on behalf of all pictures of the process, several times a second.

A place is given back when the picture is painted, before its file is fetched, so that fetching and checking go on
while the server paints the next one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from uuid import uuid4

from redis.exceptions import RedisError

from tabario.errors import RetryLater
from tabario.places.board import Board, Matched
from tabario.tiers import Tier

ASK_SECONDS: Final = 0.2
"""Between two questions while a picture waits. A server with two places has another picture to paint meanwhile."""

RENEW_SECONDS: Final = 2.0

REPLY_SECONDS: Final = 1.0
"""How long a picture that has a place waits for Redis, which it can do without."""

WEIGHTS: Final = {Tier.STANDARD: 1, Tier.PREMIUM: 2}
"""A premium job gets so many pictures for each one of a standard job, while both have pictures waiting."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose picture waits for a place: jobs take turns by weight. `model` is what a server must load for it."""

    job: str
    weight: int
    model: str


@dataclass(slots=True)
class _Ticket:
    turn: Turn
    servers: Sequence[str]
    order: int
    server: str = ""
    granted: asyncio.Event = field(default_factory=asyncio.Event)

    def as_json(self) -> dict[str, Any]:
        return {
            "job": self.turn.job,
            "weight": self.turn.weight,
            "model": self.turn.model,
            "servers": list(self.servers),
            "server": self.server,
            "order": self.order,
        }


class Places:
    """An async context manager's worth of asking: use `opened`. `patience` bounds waiting while no server is open."""

    def __init__(self, board: Board, *, places: int, patience: float) -> None:
        self._board = board
        self._places = places
        self._patience = patience
        self._process = uuid4().hex
        self._tickets: dict[str, _Ticket] = {}
        self._orders = itertools.count()
        self._news = asyncio.Event()
        self._closing = False
        self._open: frozenset[str] | None = None  # None: Redis does not tell

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Asks until the block ends, then gives everything back."""
        asking = asyncio.create_task(self._keep_asking(), name="places")
        try:
            yield
        finally:
            # Told, not cancelled: the Redis client may lose a cancellation that comes while it waits for a reply.
            self._closing = True
            self._news.set()
            await asyncio.wait({asking})

    @asynccontextmanager
    async def place(self, ticket: str, turn: Turn, servers: Sequence[str], *, at: str = "") -> AsyncIterator[str]:
        """Waits until one of the servers has a place for the ticket; the block has it, and gets the server.

        `at` is where the picture is already. Raises RetryLater when none of the servers takes pictures for too long.
        """
        waiting = _Ticket(turn, servers, next(self._orders), server=at)
        self._tickets[ticket] = waiting
        self._news.set()
        try:
            if not at:
                await self._granted(waiting)
            yield waiting.server
        finally:
            del self._tickets[ticket]
            self._news.set()

    async def give(self, ticket: str, server: str) -> None:
        """Tells everybody that the server is about to be sent the picture."""
        with suppress(RedisError, TimeoutError):
            await _soon(self._board.give(ticket, server))

    async def given(self, ticket: str) -> frozenset[str] | None:
        """The servers that may have been sent the picture, by any process; None when Redis does not tell."""
        try:
            return await _soon(self._board.given(ticket))
        except (RedisError, TimeoutError):
            return None

    async def failed(self, server: str) -> None:
        """Tells everybody that the server is in trouble."""
        with suppress(RedisError):
            await self._board.close(server)

    async def worked(self, server: str) -> None:
        """Tells everybody that the server works."""
        with suppress(RedisError):
            await self._board.reopen(server)

    async def _granted(self, ticket: _Ticket) -> None:
        last_open = time.monotonic()
        while not ticket.granted.is_set():
            if self._open is None or not self._open.isdisjoint(ticket.servers):
                last_open = time.monotonic()
            elif time.monotonic() - last_open > self._patience:
                raise RetryLater("No ComfyUI server takes pictures at the moment.", retry_after=30)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(ASK_SECONDS, self._patience)):
                    await ticket.granted.wait()

    async def _keep_asking(self) -> None:
        while not self._closing:
            self._news.clear()
            asked = dict(self._tickets)
            self._hear(asked, await self._ask())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._news.wait()
        self._tickets.clear()
        await self._ask()

    @property
    def _pause(self) -> float | None:
        if not self._tickets:
            return None
        return ASK_SECONDS if any(not ticket.server for ticket in self._tickets.values()) else RENEW_SECONDS

    async def _ask(self) -> Matched | None:
        try:
            return await self._board.match(self._process, {id_: t.as_json() for id_, t in self._tickets.items()})
        except RedisError as error:
            _log.warning("Redis does not tell whose turn it is; this process keeps to its own share: %s", error)
            return None

    def _hear(self, asked: Mapping[str, _Ticket], matched: Matched | None) -> None:
        granted = self._shared_out_here() if matched is None else matched.granted
        self._open = None if matched is None else frozenset(matched.open)
        for id_, server in granted.items():
            ticket = self._tickets.get(id_)
            if ticket is not None and ticket is asked.get(id_):  # not given up, or up and asked for again, meanwhile
                ticket.server = server
                ticket.granted.set()

    def _shared_out_here(self) -> dict[str, str]:
        """Without Redis, each process fills the places as if it were alone: too many prompts are better than none."""
        held = [ticket.server for ticket in self._tickets.values() if ticket.server]
        granted = {}
        for id_, ticket in self._tickets.items():
            server = min(ticket.servers, key=held.count)
            if not ticket.server and held.count(server) < self._places:
                granted[id_] = server
                held.append(server)
        return granted


async def _soon(call: Coroutine[Any, Any, T]) -> T:
    """What Redis says. Raises TimeoutError when that takes long.

    Shielded, because the Redis client may lose a cancellation, and then a picture that nobody wants would be painted.
    """
    reply = asyncio.create_task(call)
    reply.add_done_callback(lambda done: done.cancelled() or done.exception())  # else asyncio complains of an error
    async with asyncio.timeout(REPLY_SECONDS):
        return await asyncio.shield(reply)
