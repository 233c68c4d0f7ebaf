"""Cancelling work that must still clean up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def cancelled_once(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` and lets one cancellation through to it; whoever cancels again waits for its clean-up.

    When a run is cancelled, its event loop cancels every task, and each task group cancels its children once more.
    The second one would break off the request that takes a prompt from ComfyUI.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelling():
            task.cancel()
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise
