"""The Redis hash that holds every recorded total, and the scripts that change it.

All values only grow within an epoch. The hash carries a random `epoch`, so that a flushed or replaced Redis can be
told from one that merely counted on, and `since`, the time from which on this epoch counts.

A Redis that lost the totals has lost the guards of their events, too, and a keeper that reads old runs in it reports
their ends once more. Such a second-hand report says when the event happened, and one from before `since` is dropped.
Clocks differ, so near `since` one error or the other is made:

- An epoch that the exporter begins after a loss leaves rather too much out. Until its last read, everything had been
  shown to Prometheus: what is counted again did not happen, and may page somebody or end up on a bill, and nobody can
  tell. A few events that are missing are no more than what such a loss costs anyway.
- An epoch that the first event begins rather counts too much. It is a new installation's more often than a flushed
  one's, and there nothing was counted before.

What an observer reports at first hand carries no time and always counts, however late it comes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final, cast
from uuid import uuid4

from redis.asyncio import Redis

from tabario import names
from tabario.metrics.definitions import COUNTER_ROLLBACKS

EPOCH_FIELD: Final = "epoch"
SINCE_FIELD: Final = "since"
GUARD_SECONDS: Final = 24 * 3600
CLOCKS_DIFFER_SECONDS: Final = 5


@dataclass(frozen=True)
class Event:
    """Something that happened once: amounts to add by field, counted at most once for an id.

    `happened_at`, in Unix time, is for reports that may come again long after.
    """

    id: str
    deltas: tuple[tuple[str, float], ...]
    happened_at: float | None = None


@dataclass(frozen=True)
class Totals:
    """What the hash held at one moment: at `read_at`, in Unix time by Redis's clock.

    `epoch` is None when there was no hash.
    """

    epoch: str | None
    values: dict[str, float]
    read_at: float = field(default=0.0, compare=False)


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
        told = [
            ["" if event.happened_at is None else repr(event.happened_at)]
            + [part for name, amount in event.deltas for part in (name, repr(amount))]
            for event in events
        ]
        await self._count_events(
            keys=[names.METRICS_KEY, *(names.metrics_event_key(event.id) for event in events)],
            args=[uuid4().hex, GUARD_SECONDS, CLOCKS_DIFFER_SECONDS, json.dumps(told)],
        )

    async def read(self) -> Totals:
        """All totals."""
        async with self._redis.pipeline() as pipeline:
            pipeline.time()
            pipeline.hgetall(names.METRICS_KEY)
            (seconds, microseconds), fields = cast("tuple[tuple[int, int], dict[str, str]]", await pipeline.execute())
        epoch = fields.pop(EPOCH_FIELD, None)
        fields.pop(SINCE_FIELD, None)
        values = {name: float(value) for name, value in fields.items()}
        return Totals(epoch=epoch, values=values, read_at=seconds + microseconds / 1e6)

    async def begin_epoch(self, *, instead_of: str, lost: Totals) -> None:
        """Starts anew from zero if the epoch is still `instead_of`. `lost` are the totals that Redis should have held.

        Only the number of such events goes on, or the second one could not be seen. The new epoch counts from when
        `lost` was read, not from now: what ended while Redis was away is still to be counted.
        """
        ((rollbacks, one),) = COUNTER_ROLLBACKS.increment().deltas
        number = lost.values.get(rollbacks, 0.0) + one
        since = repr(lost.read_at + CLOCKS_DIFFER_SECONDS)
        await self._begin_epoch(
            keys=[names.METRICS_KEY], args=[instead_of, uuid4().hex, rollbacks, repr(number), since]
        )
