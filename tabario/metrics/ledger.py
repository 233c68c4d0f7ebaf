"""The Redis hash that holds every recorded total, and the scripts that change it.

All values only grow within an epoch. The hash carries a random `epoch`, so that a flushed or replaced Redis can be
told from one that merely counted on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, cast
from uuid import uuid4

from redis.asyncio import Redis

from tabario import names
from tabario.metrics.definitions import COUNTER_ROLLBACKS

EPOCH_FIELD: Final = "epoch"
GUARD_SECONDS: Final = 24 * 3600


@dataclass(frozen=True)
class Event:
    """Something that happened once: amounts to add by field, counted at most once for an id."""

    id: str
    deltas: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Totals:
    """What the hash held at one moment. `epoch` is None when there was no hash."""

    epoch: str | None
    values: dict[str, float]


class MetricsLedger:
    """Adds to the totals and reads them. Errors of Redis pass through."""

    def __init__(self, redis: Redis) -> None:
        """`redis` must decode responses."""
        self._redis = redis
        scripts = files(__package__)
        self._count_events = redis.register_script((scripts / "count_events.lua").read_text(encoding="utf-8"))
        self._begin_epoch = redis.register_script((scripts / "begin_epoch.lua").read_text(encoding="utf-8"))

    async def add(self, events: Sequence[Event]) -> None:
        """Counts the events in one call. Safe to repeat for a day."""
        # Amounts travel as text: Lua would round a number on its way through JSON.
        amounts = [[part for name, amount in event.deltas for part in (name, repr(amount))] for event in events]
        await self._count_events(
            keys=[names.METRICS_KEY, *(names.metrics_event_key(event.id) for event in events)],
            args=[uuid4().hex, GUARD_SECONDS, json.dumps(amounts)],
        )

    async def read(self) -> Totals:
        """All totals."""
        fields = cast("dict[str, str]", await self._redis.hgetall(names.METRICS_KEY))
        epoch = fields.pop(EPOCH_FIELD, None)
        return Totals(epoch=epoch, values={name: float(value) for name, value in fields.items()})

    async def begin_epoch(self, *, instead_of: str, lost: Totals) -> None:
        """Starts anew from zero if the epoch is still `instead_of`. `lost` are the totals that Redis should have held.

        Only the number of such events goes on, or the second one could not be seen.
        """
        ((rollbacks, one),) = COUNTER_ROLLBACKS.increment().deltas
        number = lost.values.get(rollbacks, 0.0) + one
        await self._begin_epoch(keys=[names.METRICS_KEY], args=[instead_of, uuid4().hex, rollbacks, repr(number)])
