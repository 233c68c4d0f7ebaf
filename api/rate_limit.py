"""Refuses requests that come too often, in plain ASGI: before anything reads their body."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem_of
from api.services import Services
from tabario.errors import TooManyRequests
from tabario.tokens.claims import Identity


class RateLimit:
    """Answers 429 to requests over the rate."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request, or refuses it. Open paths have no caller, and are not counted."""
        caller: Identity | None = scope.get("state", {}).get("caller")
        if scope["type"] == "http" and caller is not None:
            services: Services = scope["app"].state.services
            try:
                await services.rates.count(caller.user_id, scope["method"])
            except TooManyRequests as refusal:
                await problem_of(refusal, instance=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)
