"""Wake-up calls from a ComfyUI server: its websocket tells that the queue changed, and nothing more is believed.

A socket may be deaf while it looks alive, and nothing is replayed after a reconnect. So whoever waits here gives a
time-out and then asks the queue and the history, which are the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Final
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024  # previews may be large; they are read and dropped
RECONNECT_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class WakeUps:
    """Counts the calls. The socket opens with the first wait, and again `reconnect_after` seconds after its end."""

    def __init__(self, url: str, *, reconnect_after: float = RECONNECT_SECONDS) -> None:
        self._reconnect_after = reconnect_after
        address = httpx.URL(url)
        self._address = address.copy_with(
            scheme="wss" if address.scheme == "https" else "ws", raw_path=address.raw_path.rstrip(b"/") + b"/ws"
        )
        self._wanted = asyncio.Event()
        self._next = asyncio.Event()
        self.count = 0

    async def after(self, seen: int, within: float) -> None:
        """Returns when `count` exceeds `seen`, or after `within` seconds, which is no error."""
        self._wanted.set()
        if self.count > seen:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._next.wait()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens until the block ends."""
        listener = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.wait({listener})

    async def _listen(self) -> None:
        await self._wanted.wait()
        while True:
            try:
                await self._follow_one_socket()
            except (OSError, WebSocketException) as error:
                _log.debug("no wake-up calls from ComfyUI, polling goes on: %s", error)
            await asyncio.sleep(self._reconnect_after)

    async def _follow_one_socket(self) -> None:
        # A client id that an open socket still uses makes the new socket deaf: each connection takes a fresh one.
        address = str(self._address.copy_set_param("clientId", uuid4().hex))
        async with connect(address, max_size=MAX_MESSAGE_BYTES, close_timeout=1, proxy=None) as socket:
            self._ring()  # whatever happened while nobody listened is never told again
            async for message in socket:
                if isinstance(message, str) and _tells_of_the_queue(message):
                    self._ring()

    def _ring(self) -> None:
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()


def _tells_of_the_queue(message: str) -> bool:
    try:
        fields = json.loads(message)
    except ValueError:
        return False
    return isinstance(fields, dict) and fields.get("type") == "status"
