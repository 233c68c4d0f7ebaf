"""Prompts that stayed behind at servers which were away for so long that their pictures moved to another one.

A server that was merely cut off still has them, and would paint for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import anyio

from tabario.clients.comfyui.client import ComfyUIClient
from tabario.errors import TabarioError

TAKE_BACK_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class Leftovers:
    """One per pool. `clients` are its servers by name."""

    def __init__(self, clients: Mapping[str, ComfyUIClient]) -> None:
        self._clients = clients
        self._whose: dict[tuple[str, UUID], Mapping[str, str]] = {}

    def add(self, server: str, prompt_id: UUID, extra_data: Mapping[str, str]) -> None:
        """The picture leaves the server, which may have its prompt still."""
        self._whose[server, prompt_id] = extra_data

    def forget(self, server: str, prompt_id: UUID) -> None:
        """The picture is wanted there again."""
        self._whose.pop((server, prompt_id), None)

    async def take_back(self, prompt_id: UUID) -> None:
        """Takes a picture that was painted elsewhere off the servers that answer. Never raises, never takes long."""
        await self._take_back([left for left in self._whose if left[1] == prompt_id])

    async def take_back_all(self) -> None:
        """The same for whatever is left at the end, when a server may be back."""
        await self._take_back(list(self._whose))

    async def _take_back(self, left: list[tuple[str, UUID]]) -> None:
        if left:
            with anyio.move_on_after(TAKE_BACK_SECONDS, shield=True):
                await asyncio.gather(*(self._withdraw(server, prompt_id) for server, prompt_id in left))

    async def _withdraw(self, server: str, prompt_id: UUID) -> None:
        try:
            await self._clients[server].withdraw(prompt_id, extra_data=self._whose[server, prompt_id])
        except TabarioError as error:
            _log.warning("A picture that was painted elsewhere may be painted at %s, too: %s", server, error)
        else:
            self.forget(server, prompt_id)
