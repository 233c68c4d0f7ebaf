"""All ComfyUI servers as one: each picture goes to a server that has a place for it, and to another when that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final, Self
from uuid import UUID

import httpx

from tabario.clients.comfyui.client import ComfyUIClient
from tabario.clients.comfyui.graph import Graph
from tabario.clients.comfyui.leftovers import Leftovers
from tabario.clients.comfyui.painting import Painted, Patience, ServerGone
from tabario.clients.comfyui.routes import ComfyUIUnavailable, Observe, unobserved
from tabario.clients.comfyui.search import Search
from tabario.errors import ImageTimedOut
from tabario.places import Places, Turn
from tabario.places.board import Board

MOVE_SECONDS: Final = 10.0
"""So long a picture waits for a server that went away with it when another server could paint it."""


def server_name(url: str) -> str:
    """What a server is called in Redis and by operators: its host, port and path, without a password."""
    address = httpx.URL(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    return f"{address.host}:{port}{address.path.rstrip('/')}"


class ComfyUIPool:
    """An async context manager. One pool serves all pictures of a process; `board` shares the servers with others.

    `places` is how many prompts each server is kept at.
    """

    def __init__(
        self, urls: Sequence[str], *, board: Board, places: int, patience: Patience, observe: Observe = unobserved
    ) -> None:
        if len(urls) > 1:
            patience = replace(patience, outage=min(patience.outage, MOVE_SECONDS))
        self._clients = {server_name(url): ComfyUIClient(url, patience=patience, observe=observe) for url in urls}
        self._places = Places(board, places=places, patience=patience.outage)
        self._leftovers = Leftovers(self._clients)
        self._patience = patience
        self._resources = AsyncExitStack()
        self.capacity: Final = places * len(self._clients)

    async def __aenter__(self) -> Self:
        for client in self._clients.values():
            await self._resources.enter_async_context(client)
        await self._resources.enter_async_context(self._places.opened())
        self._resources.push_async_callback(self._leftovers.take_back_all)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._resources.__aexit__(kind, error, traceback)

    async def paint(
        self,
        graph: Graph,
        *,
        prompt_id: UUID,
        extra_data: Mapping[str, str],
        turn: Turn,
        on_place: Callable[[], None],
    ) -> tuple[Painted, bytes]:
        """Waits for a place, has the picture painted there and fetches it; `on_place` is called at its first place.

        A prompt that any of the servers has, from another job or a run that died, is adopted where it is. Raises what
        `ComfyUIClient.paint` and `fetch` raise; RetryLater only when no server could take the picture for too long.
        """
        ticket = str(prompt_id)
        search = Search(
            prompt_id,
            self._clients,
            places=self._places,
            patience=self._patience,
            on_leave=partial(self._leftovers.add, prompt_id=prompt_id, extra_data=extra_data),
        )
        has_begun, trouble_since = False, None
        while True:
            if not search.at:
                await search.look()
            async with self._places.place(ticket, turn, list(search.left), at=search.at) as server:
                if not has_begun:  # one that moves has begun at the server that failed
                    has_begun = True
                    on_place()
                if not await search.may_go_to(server):
                    continue
                self._leftovers.forget(server, prompt_id)
                try:
                    painted = await self._clients[server].paint(
                        graph,
                        prompt_id=prompt_id,
                        extra_data=extra_data,
                        announce=partial(self._places.give, ticket, server),
                        witnessed=server == search.at,
                    )
                except ImageTimedOut:
                    await self._places.failed(server)
                    raise
                except ServerGone:
                    await self._places.failed(server)
                    if not search.leave(server):
                        raise
                    continue
                except ComfyUIUnavailable:
                    await self._places.failed(server)
                    trouble_since = trouble_since or time.monotonic()
                    if time.monotonic() - trouble_since > self._patience.outage:
                        raise
                    continue
            await self._places.worked(server)
            await self._leftovers.take_back(prompt_id)
            return painted, await self._clients[server].fetch(painted)
