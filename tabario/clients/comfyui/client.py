"""The client of one ComfyUI server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import httpx

from tabario.clients.comfyui.graph import Graph
from tabario.clients.comfyui.painting import (
    Announce,
    Order,
    Painted,
    Painting,
    Patience,
    nobody_to_tell,
    withdraw_prompt,
)
from tabario.clients.comfyui.replies import SystemStats
from tabario.clients.comfyui.routes import ComfyUIUnavailable, Observe, Routes, unobserved
from tabario.clients.comfyui.wakeups import WakeUps
from tabario.clients.comfyui.watchdog import HeadWatch

LOOK_SECONDS: Final = 2.0

_HTTP_TIMEOUT: Final = httpx.Timeout(30, connect=5)


class ComfyUIClient:
    """An async context manager. One client serves any number of pictures at once.

    `patience` says how long to wait for what; `observe` is told of every HTTP exchange.
    """

    def __init__(self, url: str, *, patience: Patience, observe: Observe = unobserved) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=_HTTP_TIMEOUT, trust_env=False)
        self._routes = Routes(self._http, observe)
        self._wakeups = WakeUps(url)
        self._watch = HeadWatch(patience.image)
        self._patience = patience
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._resources.enter_async_context(self._http)
        await self._resources.enter_async_context(self._wakeups.listening())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._resources.__aexit__(kind, error, traceback)

    async def paint(
        self,
        graph: Graph,
        *,
        prompt_id: UUID,
        extra_data: Mapping[str, str],
        announce: Announce = nobody_to_tell,
        witnessed: bool = False,
    ) -> Painted:
        """Has the one picture painted that the graph makes; `fetch` gets its bytes.

        A prompt of that id which the server has queued, runs or has finished is adopted, so the same call after a
        crash pays nothing twice. A new attempt needs a new id and a new `filename_prefix` in the graph. Cancelling
        the call takes the prompt off the server, unless `extra_data` shows that it was sent for another job.
        `announce` is called before the prompt is sent; `witnessed` says that the server was seen to have it.
        Raises ImageFailed, ImageTimedOut, ServerGone, and ComfyUIUnavailable before the server was given the prompt.
        """
        painting = Painting(
            Order(str(prompt_id), graph, extra_data, announce=announce, witnessed=witnessed),
            routes=self._routes,
            wakeups=self._wakeups,
            watch=self._watch,
            patience=self._patience,
        )
        return await painting.finish()

    async def fetch(self, painted: Painted) -> bytes:
        """The bytes of a picture.

        Raises ImageFailed when its file is gone, StalePicture when an earlier order left it, RetryLater when the
        server stays away.
        """
        asked = time.monotonic()
        while True:
            try:
                with painted.examined():
                    return await self._routes.view(painted.file)
            except ComfyUIUnavailable:
                if time.monotonic() - asked > self._patience.outage:
                    raise
            await asyncio.sleep(self._patience.poll)

    async def knows(self, prompt_id: UUID) -> bool:
        """Whether the server has this prompt waiting, running or painted.

        Raises ComfyUIUnavailable when it does not say so soon, which is not a no: it may be away with the prompt.
        """
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                if (await self._routes.queue()).find(str(prompt_id)):
                    return True
                ended = await self._routes.history(str(prompt_id))
        except TimeoutError as error:
            raise ComfyUIUnavailable("The ComfyUI server does not answer soon.") from error
        return ended is not None and ended.succeeded

    async def withdraw(self, prompt_id: UUID, *, extra_data: Mapping[str, str]) -> None:
        """Takes the prompt off the server, unless `extra_data` shows that it was sent for another job.

        Does nothing when it neither waits nor runs there. Raises ComfyUIUnavailable.
        """
        await withdraw_prompt(self._routes, str(prompt_id), extra_data)

    async def upload_image(self, name: str, data: bytes) -> str:
        """Stores an input picture; returns what a LoadImage node takes. Raises ImageFailed or RetryLater."""
        return (await self._routes.upload(name, data)).reference

    async def system_stats(self) -> SystemStats:
        """Version and devices. Raises RetryLater."""
        return await self._routes.system_stats()

    async def object_info(self) -> dict[str, dict[str, Any]]:
        """Every node class that the server knows, by name. Raises RetryLater."""
        return await self._routes.object_info()
