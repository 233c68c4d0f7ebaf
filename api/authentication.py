"""Authentication in plain ASGI, before anything reads the body.

FastAPI parses the body before it runs dependencies: with a dependency, a stranger would be told what is wrong with
the body instead of being turned away.
"""

from __future__ import annotations

import logging
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.documentation import ICON, PAGE, SCRIPT, STYLE
from api.problems import problem_of, unauthenticated
from tabario.errors import Forbidden, RetryLater, Unauthenticated
from tabario.tokens.claims import Identity
from tabario.tokens.header import MAX_TOKEN_BYTES
from tabario.tokens.verifier import TokenVerifier

# `/metrics` asks for a token of its own: see `api.scraping`.
OPEN_PATHS: Final = frozenset({"/health", "/ready", "/metrics", "/openapi.json", PAGE, SCRIPT, STYLE, ICON})
SIGNED_PREFIX: Final = "/orchestrate/films/"  # the rest of such a path proves itself

_SCHEME: Final = b"bearer"

log = logging.getLogger(__name__)


class Authentication:
    """Lets a request through with the caller's `Identity` in its state, or answers 401, 403 or 503."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier) -> None:
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request, or refuses it."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and _is_open(scope["path"])):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._admit(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome = await self._authenticate(scope)
        if isinstance(outcome, Response):
            await outcome(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = outcome
        await self._app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> Identity | Response:
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        try:
            return await self._verifier.verify(bearer_token(values))
        except Unauthenticated as error:
            log.info("Refused a request to %s: %s", scope["path"], error)
            return unauthenticated(scope["path"], has_token=bool(values))
        except (Forbidden, RetryLater) as error:
            return problem_of(error, instance=scope["path"])


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(SIGNED_PREFIX)


def bearer_token(values: list[bytes]) -> str:
    """The token of the one Authorization header. Two headers are refused: parts could disagree on which one counts.

    Raises Unauthenticated.
    """
    if len(values) != 1:
        raise Unauthenticated(f"There are {len(values)} Authorization headers.")
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != _SCHEME:
        raise Unauthenticated("The Authorization header is not of the Bearer scheme.")
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated("The token is too long.")
    try:
        return token.strip(b" ").decode("ascii")
    except UnicodeDecodeError:
        raise Unauthenticated("The token is not ASCII.") from None
