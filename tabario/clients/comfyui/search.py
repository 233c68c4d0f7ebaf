"""Where a picture is, and where it may go: no server paints what another one has, even if that one is away just now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from uuid import UUID

from tabario.clients.comfyui.client import ComfyUIClient
from tabario.clients.comfyui.painting import Patience
from tabario.clients.comfyui.routes import ComfyUIUnavailable
from tabario.places import Places


class Search:
    """One per picture. `left` are the servers that may paint it, `at` the one that has it, else the empty string.

    `on_leave` is told of each server that the picture leaves, although its prompt may be there.
    """

    def __init__(
        self,
        prompt_id: UUID,
        clients: Mapping[str, ComfyUIClient],
        *,
        places: Places,
        patience: Patience,
        on_leave: Callable[[str], None],
    ) -> None:
        self._prompt_id = prompt_id
        self._places = places
        self._patience = patience
        self._on_leave = on_leave
        self.left = dict(clients)
        self.at = ""

    async def look(self) -> None:
        """Asks all of them.

        One that does not answer although the picture was sent there is asked again until it has been away for too
        long, and is left then. Others cost no time: a server that is down must not hold up what it never had.
        """
        asked = time.monotonic()
        while True:
            self.at, silent = await self._ask()
            if self.at or not silent or len(self.left) == 1:
                return
            given = await self._places.given(str(self._prompt_id))
            away = silent if given is None else silent & given
            if not away:
                return
            if time.monotonic() - asked > self._patience.outage:
                for server in away:
                    self.leave(server)
                return
            await asyncio.sleep(self._patience.poll)

    async def may_go_to(self, server: str) -> bool:
        """Whether the picture, which has a place there now, still belongs there.

        While it waited, another job that wants the same picture may have had it sent to another server.
        """
        if not self.at:
            given = await self._places.given(str(self._prompt_id))
            if given is not None and (given & self.left.keys()) - {server}:
                await self.look()
        return server in self.left and self.at in ("", server)

    def leave(self, server: str) -> bool:
        """The server keeps us waiting for too long: the picture goes elsewhere. False when there is no other."""
        if len(self.left) == 1:
            return False
        del self.left[server]
        self.at = ""
        self._on_leave(server)
        return True

    async def _ask(self) -> tuple[str, set[str]]:
        """The server that has the picture, else the empty string; and those that do not answer."""
        silent = set()

        async def knows(server: str, client: ComfyUIClient) -> bool:
            try:
                return await client.knows(self._prompt_id)
            except ComfyUIUnavailable:
                silent.add(server)
                return False

        known = await asyncio.gather(*(knows(server, client) for server, client in self.left.items()))
        return next((server for server, is_known in zip(self.left, known, strict=True) if is_known), ""), silent
