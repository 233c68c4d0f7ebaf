"""The websockets, and who is told what.

One publisher sends to one socket after another, as the real server does: a client that stops reading holds up all, and
a second socket with the clientId of a first goes deaf when the first closes.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect


class Sockets:
    """The open sockets by client id."""

    def __init__(self) -> None:
        self._open: dict[str, WebSocket] = {}
        self._messages: asyncio.Queue[tuple[str | None, dict[str, Any]]] = asyncio.Queue()

    def add(self, client_id: str, socket: WebSocket) -> None:
        """Makes this the socket of the client."""
        self._open[client_id] = socket

    def remove(self, client_id: str) -> None:
        """Forgets the client's socket, whichever it is by now."""
        self._open.pop(client_id, None)

    def send(self, kind: str, data: dict[str, Any], client_id: str | None = None) -> None:
        """Sends to one client, or to all."""
        self._messages.put_nowait((client_id, {"type": kind, "data": data}))

    async def publish(self) -> None:
        """Delivers messages until cancelled."""
        while True:
            client_id, message = await self._messages.get()
            receivers = list(self._open.values()) if client_id is None else [self._open.get(client_id)]
            for socket in receivers:
                if socket is not None:
                    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has just closed
                        await socket.send_json(message)

    async def close_all(self) -> None:
        """Closes every socket, as a restart does."""
        sockets = list(self._open.values())
        self._open.clear()
        for socket in sockets:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has just closed
                await socket.close(1001)
