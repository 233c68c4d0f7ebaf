"""The exporter as a server of its own: `/metrics` and `/health`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from monitoring.exporter import Exporter


def create_server(exporter: Exporter) -> Starlette:
    """An application that polls while it runs. `/health` is 200 as long as it runs, whatever the sources do."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "sources": exporter.sources_up()})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with exporter:
            yield

    return Starlette(
        routes=[Route("/metrics", exporter.app, methods=["GET"]), Route("/health", health)], lifespan=lifespan
    )
