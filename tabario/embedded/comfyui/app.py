"""The web application: every route also under /api, and the server's own refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount

from tabario.embedded.comfyui.bodies import Garbled
from tabario.embedded.comfyui.control import CONTROL_ROUTES
from tabario.embedded.comfyui.description import DESCRIPTION_ROUTES
from tabario.embedded.comfyui.files import FILE_ROUTES
from tabario.embedded.comfyui.gate import Gate
from tabario.embedded.comfyui.jobs import JOB_ROUTES
from tabario.embedded.comfyui.listening import LISTENING_ROUTES
from tabario.embedded.comfyui.prompts import PROMPT_ROUTES
from tabario.embedded.comfyui.standin import StandIn
from tabario.embedded.comfyui.versions import Version


def create_app(directory: Path, *, image_seconds: float, version: Version) -> Starlette:
    """The stand-in as an ASGI application; it keeps its files in `directory`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.standin = StandIn(directory, image_seconds=image_seconds, version=version)
        async with app.state.standin.serving():
            yield

    routes: list[BaseRoute] = [*PROMPT_ROUTES, *FILE_ROUTES, *DESCRIPTION_ROUTES, *LISTENING_ROUTES]
    jobs = JOB_ROUTES if version.is_strict else ()
    return Starlette(
        routes=[Mount("/api", routes=[*routes, *jobs]), *routes, *CONTROL_ROUTES],
        middleware=[Middleware(Gate, version=version)],
        exception_handlers={Garbled: _stumble},
        lifespan=lifespan,
    )


def _stumble(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("500 Internal Server Error\n\nServer got itself in trouble", 500)
