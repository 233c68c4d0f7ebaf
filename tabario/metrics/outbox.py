"""Events that Redis has not confirmed yet, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final
from uuid import uuid4

from tabario.metrics.ledger import Event

CAPACITY: Final = 1_000


class Outbox:
    """Keeps events under their ids, so that sending one twice counts once.

    Beyond `capacity` events the amounts are merged: then memory grows with the number of series, no longer with the
    number of events, and only a second report of such an event by another process could count twice.
    """

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._events: dict[str, Event] = {}
        self._merged: dict[str, float] = {}

    def put(self, event: Event) -> bool:
        """Takes an event in; says whether it kept its id."""
        if event.id not in self._events and len(self._events) >= self._capacity:
            self.merge(event.deltas)
            return False
        self._events.setdefault(event.id, event)
        return True

    def merge(self, deltas: Iterable[tuple[str, float]]) -> None:
        """Takes amounts in that belong to no particular event."""
        for name, amount in deltas:
            self._merged[name] = self._merged.get(name, 0.0) + amount

    def confirm(self, events: Iterable[Event]) -> None:
        """Forgets events that Redis has counted."""
        for event in events:
            self._events.pop(event.id, None)

    def batch(self, size: int) -> list[Event]:
        """Up to `size` events to send, oldest first; merged amounts go last, under an id that they keep."""
        if not self._events and self._merged:
            merged = Event(id=uuid4().hex, deltas=tuple(self._merged.items()))
            self._events[merged.id] = merged
            self._merged.clear()
        return list(islice(self._events.values(), size))

    def empty(self) -> list[Event]:
        """Takes everything out."""
        left = list(self._events.values())
        self._events.clear()
        left += self.batch(1)
        self._events.clear()
        return left
