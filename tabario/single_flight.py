"""Lets callers who ask the same at the same time share one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """At most one call per key at a time. A caller who gives up does not take the answer away from the others."""

    def __init__(self) -> None:
        self._flights: dict[str, asyncio.Task[T]] = {}

    async def share(self, key: str, call: Callable[[], Coroutine[None, None, T]]) -> T:
        """The outcome of the call that is under way for `key`; without one, `call` is made."""
        return await asyncio.shield(self.start(key, call))

    def start(self, key: str, call: Callable[[], Coroutine[None, None, T]]) -> asyncio.Task[T]:
        """The call that is under way for `key`; without one, `call` is begun. Its outcome need not be awaited."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(call())
            flight.add_done_callback(lambda landed: self._land(key, landed))
        return flight

    def is_under_way(self, key: str) -> bool:
        """Whether a call for `key` has not ended."""
        return key in self._flights

    async def close(self) -> None:
        """Ends what is still under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _land(self, key: str, flight: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen here, or asyncio complains about it when every caller has given up
