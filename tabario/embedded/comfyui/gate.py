"""What the server refuses before any route: pages of other sites, and bodies that are too big."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tabario.embedded.comfyui.listening import MAX_BODY_BYTES
from tabario.embedded.comfyui.versions import Version


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, version: Version) -> None:
        self._app = app
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 403 or 413, or passes the request on."""
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: Headers) -> Response | None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return Response(status_code=403)
        if self._version.is_strict and headers.get("sec-fetch-site") == "cross-site":
            return Response(status_code=403)
        if int(headers.get("content-length", "0")) > MAX_BODY_BYTES:
            return PlainTextResponse(f"Maximum request body size {MAX_BODY_BYTES} exceeded.", 413)
        return None
