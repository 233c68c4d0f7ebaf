"""The ComfyUI stand-in in the test's own process, which counts what it answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tabario.embedded.comfyui.app import create_app
from tabario.embedded.comfyui.versions import Version
from tests.support.comfyui import ComfyUIServer
from tests.support.servers import free_port
from tests.support.waiting import wait_until

COUNTED = ("/prompt", "/history", "/view", "/queue", "/upload/image", "/interrupt")


@dataclass
class Answers:
    """How often the stand-in answered, by endpoint and status class."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, path: str, status: int) -> None:
        endpoint = next((known for known in COUNTED if path == known or path.startswith(f"{known}/")), None)
        if endpoint is not None:
            self.counts[endpoint, f"{status // 100}xx"] += 1


class Counting:
    """Notes each answer when its last byte has been sent."""

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def send_and_count(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._answers.note(scope["path"], status)
            await send(message)

        await self._app(scope, receive, send_and_count)


@contextmanager
def counted_comfyui_running(directory: Path) -> Iterator[tuple[ComfyUIServer, Answers]]:
    """A stand-in that paints at once, and its count of answers."""
    directory.mkdir(parents=True)
    answers, port = Answers(), free_port()
    app = Counting(create_app(directory, image_seconds=0, version=Version.V0_33_0), answers)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            log_level="warning",
            ws="websockets-sansio",
            ws_ping_interval=None,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server.started, within=30, what="the stand-in serves")
        with httpx.Client(base_url=url, timeout=10) as http:
            yield ComfyUIServer(url, directory, http), answers
    finally:
        server.should_exit = True
        thread.join()
