from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tabario.clients.comfyui import Graph, Painted, Patience
from tabario.clients.comfyui.painting import Order, Painting, cancel_prompt
from tabario.clients.comfyui.routes import Routes
from tabario.clients.comfyui.wakeups import WakeUps
from tabario.clients.comfyui.watchdog import HeadWatch


class OldServer:
    """A ComfyUI from before targeted interrupts: /interrupt stops whatever runs, and there is no /api/jobs."""

    def __init__(self, *, running: list[str], pending: list[str]) -> None:
        self.running = running
        self.pending = pending

    def __call__(self, request: httpx.Request) -> httpx.Response:
        match request.method, request.url.path:
            case "GET", "/queue":
                rows = {"queue_running": self.running, "queue_pending": self.pending}
                return httpx.Response(
                    200, json={key: [[0, row, {}, {}, []] for row in ids] for key, ids in rows.items()}
                )
            case "POST", "/queue":
                deleted = json.loads(request.content)["delete"]
                self.pending = [prompt_id for prompt_id in self.pending if prompt_id not in deleted]
            case "POST", "/interrupt":
                self.running = []
            case _:
                return httpx.Response(404)
        return httpx.Response(200)


@pytest.mark.parametrize(
    ("running", "pending", "left"),
    [(["mine"], ["other"], ["other"]), (["other"], ["mine"], ["other"]), (["other"], [], ["other"]), ([], [], [])],
    ids=["running", "pending", "gone", "nothing there"],
)
async def test_old_server_cancels_this_prompt_only(running: list[str], pending: list[str], left: list[str]) -> None:
    server = OldServer(running=running, pending=pending)
    async with httpx.AsyncClient(base_url="http://comfyui", transport=httpx.MockTransport(server)) as http:
        await cancel_prompt(Routes(http), "mine")
    assert server.running + server.pending == left


class SlowServer(OldServer):
    """Takes a prompt in only when the test lets it, whether or not the sender still listens."""

    def __init__(self) -> None:
        super().__init__(running=["other"], pending=[])
        self.arrived = asyncio.Event()
        self.may_take_in = asyncio.Event()
        self.taking_in: list[asyncio.Task[None]] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/prompt":
            return httpx.Response(200, json={}) if "/history" in request.url.path else self(request)
        self.taking_in.append(asyncio.create_task(self.take_in()))
        self.arrived.set()
        await asyncio.shield(self.taking_in[-1])
        return httpx.Response(200, json={"prompt_id": "mine", "number": 1, "node_errors": {}})

    async def take_in(self) -> None:
        await self.may_take_in.wait()
        self.pending.append("mine")


class DroppingServer(SlowServer):
    """Drops the reply, and takes the prompt in only when it has been looked for once in vain."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/prompt":
            self.taking_in.append(asyncio.create_task(self.take_in()))
            raise httpx.ReadError("the connection was reset", request=request)
        if "/history" in request.url.path and self.taking_in:
            self.may_take_in.set()
        if self.pending:
            self.arrived.set()
        return await super().answer(request)


@asynccontextmanager
async def painting_at(server: SlowServer) -> AsyncIterator[asyncio.Task[Painted]]:
    async with httpx.AsyncClient(base_url="http://comfyui", transport=httpx.MockTransport(server.answer)) as http:
        painting = Painting(
            Order("mine", Graph({}, "1"), {}),
            routes=Routes(http),
            wakeups=WakeUps("http://comfyui"),
            watch=HeadWatch(60),
            patience=Patience(image=60, poll=0.01, settle=30),
        )
        finishing = asyncio.create_task(painting.finish())
        await server.arrived.wait()
        yield finishing
        with pytest.raises(asyncio.CancelledError):
            await finishing
        await asyncio.gather(*server.taking_in)


async def test_submission_on_its_way_is_awaited_and_taken_back() -> None:
    server = SlowServer()
    async with painting_at(server) as finishing:
        finishing.cancel()
        await asyncio.wait({finishing}, timeout=0.2)  # as long as the server holds the submission, there is no end
        server.may_take_in.set()
    assert (server.running, server.pending) == (["other"], [])


async def test_submission_whose_reply_was_lost_is_given_time_to_arrive() -> None:
    server = DroppingServer()
    async with painting_at(server) as finishing:
        finishing.cancel()
    assert len(server.taking_in) == 1
