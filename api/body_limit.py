"""A cap on request bodies, whether their length is declared or they come in chunks, and on the time they take."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

BODY_SECONDS: Final = 30.0
SLOW: Final = f"The body was not there after {BODY_SECONDS:.0f} seconds."


class BodyLimit:
    """Answers 413 to bodies over `limit` bytes, and 408 to those that are not there after `BODY_SECONDS`.

    A declared length is refused unread, a chunked body when it grows over.

    Starlette's own limit is not used: it answers a declared length in plain text.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _declared_length(scope) > self._limit:
            refusal = problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                code="body_too_large",
                detail=self._detail,
                instance=scope["path"],
                headers={"Connection": "close"},
            )
            await refusal(scope, receive, send)
            return
        received = 0
        deadline: float | None = asyncio.get_running_loop().time() + BODY_SECONDS

        async def receive_some() -> Message:
            nonlocal received, deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, SLOW, {"Connection": "close"}) from None
            if not message.get("more_body"):
                deadline = None  # what may still come is that the caller hangs up
            received += len(message.get("body", b""))
            if received > self._limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._detail, {"Connection": "close"})
            return message

        await self._app(scope, receive_some, send)

    @property
    def _detail(self) -> str:
        return f"The body is larger than {self._limit} bytes."


def _declared_length(scope: Scope) -> int:
    """The first digits of Content-Length are enough to refuse it, and Python refuses to read very many."""
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared[:19]) if declared.isdecimal() else 0
