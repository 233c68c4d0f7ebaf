"""Waiting for a condition instead of sleeping for a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from threading import Event

import anyio


def wait_until(condition: Callable[[], bool], *, within: float, what: str) -> None:
    """Returns as soon as `condition()` is true; fails after `within` seconds, saying `what` did not come."""
    deadline = time.monotonic() + within
    pause = Event()
    while not condition():
        assert time.monotonic() < deadline, f"gave up after {within} s waiting until {what}"
        pause.wait(0.05)


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float, what: str) -> None:
    """The same for a coroutine function; `within` is in seconds."""
    with anyio.move_on_after(within):
        while not await condition():  # noqa: ASYNC110 - the condition lives in another process
            await anyio.sleep(0.05)
        return
    raise AssertionError(f"gave up after {within} s waiting until {what}")
