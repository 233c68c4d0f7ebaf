"""Lets a user's parallel submissions try one after another, and share a refusal.

A full limit refuses every claim, and each costs Prefect a transaction on the same row. So of many requests of one user
one asks, and those that had come before it asked are answered with it: at that moment no slot was free for any of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import anyio

from tabario.errors import RetryLater, SlotsFull

T = TypeVar("T")


@dataclass(eq=False)
class _Queue:
    """Those who wait under one key. `asked` is the moment at which the last refused one had asked."""

    turn: anyio.Lock = field(default_factory=anyio.Lock)
    refusal: SlotsFull | RetryLater | None = None
    asked: int = -1


class Turns(Generic[T]):
    """One call per key at a time within this process. A success is its caller's alone."""

    def __init__(self) -> None:
        self._moments = count()
        self._queues: WeakValueDictionary[Hashable, _Queue] = WeakValueDictionary()

    async def take(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to `ask()`, unless a call that began since we came was refused: then that refusal is raised."""
        came, queue = next(self._moments), self._queue(key)
        async with queue.turn:
            if queue.refusal is not None and queue.asked > came:
                raise queue.refusal.with_traceback(None)
            asked = next(self._moments)
            try:
                return await ask()
            except (SlotsFull, RetryLater) as refusal:
                queue.refusal, queue.asked = refusal, asked
                raise

    def _queue(self, key: Hashable) -> _Queue:
        """The queue of a key; it lasts as long as somebody is in it."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
        return queue
