"""Headers that every reply carries: the request's id, and what browsers must not do with the reply."""

from __future__ import annotations

import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tabario.logs import logging_about

REQUEST_ID: Final = "X-Request-ID"

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ReplyHeaders:
    """Echoes a well-formed X-Request-ID (else makes one) and forbids sniffing and storing.

    A reply that sets its own Cache-Control keeps it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with logging_about(request_id=request_id):
            await self._app(scope, receive, send_with_headers)


def _request_id(headers: Headers) -> str:
    """The caller's id when there is exactly one and it is safe to log and to echo, else a new one."""
    given = headers.getlist(REQUEST_ID)
    if len(given) == 1 and _SAFE_ID.fullmatch(given[0]):
        return given[0]
    return uuid.uuid4().hex
