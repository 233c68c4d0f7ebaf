"""A voice service for tests: a real HTTP server that gives the answers it was handed, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.support.servers import free_port
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Answer:
    """One answer. With `stalls`, the service never says the rest."""

    body: bytes = b""
    status: int = 200
    content_type: str = "audio/wav"
    stalls: bool = False


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    authorization: str | None
    body: dict[str, Any]


@dataclass
class FakeVoiceService:
    """The running service: where it is, and what it was asked."""

    url: str
    received: list[Received] = field(default_factory=list)


@asynccontextmanager
async def voice_service_running(*answers: Answer) -> AsyncIterator[FakeVoiceService]:
    """Serves `answers` in order to any POST; the last one again and again. Of GET it knows OpenAI's list of models."""
    port = free_port()
    service = FakeVoiceService(url=f"http://127.0.0.1:{port}")

    async def answer(request: Request) -> Response:
        service.received.append(Received(request.url.path, request.headers.get("authorization"), await request.json()))
        chosen = answers[min(len(service.received), len(answers)) - 1]
        if chosen.stalls:
            return StreamingResponse(_stall(chosen.body), chosen.status, media_type=chosen.content_type)
        return Response(chosen.body, chosen.status, media_type=chosen.content_type)

    async def list_models(_: Request) -> Response:
        return Response(b'{"data": []}', media_type="application/json")

    async def find_nothing(request: Request) -> Response:
        return Response(status_code=405 if request.url.path == "/synthesize/clone_voice" else 404)

    app = Starlette(
        routes=[
            Route("/v1/models", list_models, methods=["GET"]),
            Route("/{path:path}", find_nothing, methods=["GET"]),
            Route("/{path:path}", answer, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1)
    )

    async def has_started() -> bool:
        return server.started

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await eventually(has_started, within=10, what="the voice service listens")
        try:
            yield service
        finally:
            server.should_exit = True


async def _stall(body: bytes) -> AsyncIterator[bytes]:
    yield body
    await anyio.sleep_forever()
