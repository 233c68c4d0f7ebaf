"""The queue of prompts and the history of those that ended."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any, Final

# The server forgets its oldest prompt when it holds more than this.
HISTORY_SIZE: Final = 10_000

Graph = dict[str, dict[str, Any]]


@dataclass(frozen=True, order=True)
class QueuedPrompt:
    """A prompt that passed validation. The lowest `number` runs first."""

    number: float
    prompt_id: str
    graph: Graph = field(compare=False)
    extra_data: dict[str, Any] | None = field(compare=False)
    output_nodes: list[str] = field(compare=False)

    @property
    def client_id(self) -> str | None:
        """The websocket client that is told about this prompt."""
        return (self.extra_data or {}).get("client_id")

    def row(self) -> list[Any]:
        """The five items that /queue and /history show."""
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.output_nodes]


class PromptQueue:
    """What waits, what runs, what has ended. `on_change` is called when the number of unfinished prompts is news."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._arrived = asyncio.Event()
        self._next_number = 0
        self.pending: list[QueuedPrompt] = []
        self.running: QueuedPrompt | None = None
        self.history: dict[str, dict[str, Any]] = {}

    @property
    def remaining(self) -> int:
        """Prompts that have not ended."""
        return len(self.pending) + (self.running is not None)

    def take_number(self) -> int:
        """The next number of the server's own counter; a rejected prompt uses one up as well."""
        self._next_number += 1
        return self._next_number - 1

    def put(self, prompt: QueuedPrompt) -> bool:
        """Queues the prompt. False when another with the same number and id waits: it is queued all the same."""
        is_unique = prompt not in self.pending
        heapq.heappush(self.pending, prompt)
        self._arrived.set()
        if is_unique:
            self._changed()
        return is_unique

    async def take(self) -> QueuedPrompt:
        """Waits for a prompt and makes it the running one."""
        while not self.pending:
            self._arrived.clear()
            await self._arrived.wait()
        self.running = heapq.heappop(self.pending)
        self._changed()
        return self.running

    def finish(self, prompt: QueuedPrompt, entry: dict[str, Any]) -> None:
        """Moves the running prompt to the history."""
        if len(self.history) > HISTORY_SIZE:
            del self.history[next(iter(self.history))]
        self.history.pop(prompt.prompt_id, None)
        self.history[prompt.prompt_id] = {"prompt": prompt.row(), **entry}
        self.running = None
        self._changed()

    def delete(self, prompt_ids: Container[str]) -> bool:
        """Removes pending prompts; a running one stays. Tells whether there was any."""
        kept = [prompt for prompt in self.pending if prompt.prompt_id not in prompt_ids]
        has_deleted = len(kept) < len(self.pending)
        heapq.heapify(kept)
        self.pending = kept
        if has_deleted:
            self._changed()
        return has_deleted

    def clear(self) -> None:
        """Removes every pending prompt."""
        self.pending.clear()
        self._changed()

    def forget(self) -> None:
        """Loses everything, as a restart does, without a word to anybody."""
        self.pending.clear()
        self.history.clear()
        self.running = None
        self._next_number = 0

    def page(self, *, max_items: int | None, offset: int | None) -> dict[str, Any]:
        """A stretch of the history, oldest first; without `offset` the newest `max_items`."""
        ids = list(self.history)
        first = offset if offset is not None else 0 if max_items is None else len(ids) - max_items
        last = len(ids) if max_items is None else first + max_items
        return {prompt_id: self.history[prompt_id] for prompt_id in ids[max(first, 0) : max(last, 0)]}

    def _changed(self) -> None:
        self._on_change()
