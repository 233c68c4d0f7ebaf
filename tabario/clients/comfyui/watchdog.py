"""Notices an executor that no longer moves.

An exception outside a node's own code ends ComfyUI's executor thread. From then on the server accepts everything and
runs nothing, and one prompt stays at the head of the queue for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tabario.clients.comfyui.replies import Queue


class HeadWatch:
    """How long the same prompt has been at the head. One per server, shared by all who read its queue.

    `limit` is how many seconds one prompt may plausibly run.
    """

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._head: tuple[float, str] | None = None
        self._since = self._clock()

    def note(self, queue: Queue) -> None:
        """Takes note of a queue just read."""
        head = (queue.head.number, queue.head.prompt_id) if queue.head else None
        if head != self._head or not (queue.running or queue.pending):
            self._head, self._since = head, self._clock()

    @property
    def is_stuck(self) -> bool:
        """Whether the head noted last has been there for too long."""
        return self._clock() - self._since > self._limit
