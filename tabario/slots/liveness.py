"""Finds runs whose process is gone though Prefect believes it alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.models import Run, RunState
from tabario.settings import SlotSettings
from tabario.slots.clock import Clock
from tabario.slots.heartbeat import BEAT_SECONDS, KEY_SECONDS

FIRST_BEAT: Final = timedelta(seconds=60)
"""It comes a few seconds after a run is RUNNING, and as soon after a Redis that forgot all beats is back."""
ENOUGH: Final = timedelta(seconds=3 * BEAT_SECONDS)
"""How long a keeper watches without a gap before it calls anybody dead: in a gap Redis or Prefect may have been away,
so that flows could not say that they live. One whose keepers all lead for less is never found dead."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A run to be declared ended, in this state, for this reason."""

    run: Run
    state: RunState
    reason: str


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was last seen of a run, and since when that has not changed."""

    state_id: UUID
    beat: str | bytes | None
    since: AwareDatetime


_SIGHTS: Final = TypeAdapter(dict[UUID, _Sight])


class Liveness:
    """Watches whether runs begin and beat.

    What was seen is kept in Redis, so that the next keeper need not begin anew. All is compared with what was seen
    before, on the keeper's clock: those of flows and of Prefect do not matter, those of keepers may be seconds apart.
    `redis` decodes its answers.
    """

    def __init__(self, redis: Redis, settings: SlotSettings, *, clock: Clock) -> None:
        self._redis = redis
        self._silence = timedelta(seconds=settings.silence)
        self._pending_limit = timedelta(seconds=settings.pending_limit)
        self._clock = clock
        self._sights: dict[UUID, _Sight] = {}
        self._began: datetime | None = None

    def pause(self) -> None:
        """Ends the watch; the next look begins another. Meanwhile another keeper may watch, or no flow be heard."""
        self._began = None

    async def look(self, live: Sequence[Run]) -> list[Verdict]:
        """The verdicts on those of the live runs that are dead. Raises RedisError."""
        beats = await self._redis.mget([names.beat_key(run.flow_run_id) for run in live])
        now = self._clock()
        if self._began is None or now < self._began:  # the clock was set back
            self._sights, self._began = await self._recall(), now
        self._sights = {run.flow_run_id: self._see(run, beat, now) for run, beat in zip(live, beats, strict=True)}
        await self._redis.set(names.KEEPER_SIGHTS_KEY, _SIGHTS.dump_json(self._sights), ex=KEY_SECONDS)
        if now - self._began < ENOUGH:
            return []
        return [verdict for run in live if (verdict := self._judge(run, now))]

    async def _recall(self) -> dict[UUID, _Sight]:
        """What a keeper saw last; nothing when there was none, or it was of another version."""
        kept = await self._redis.get(names.KEEPER_SIGHTS_KEY)
        try:
            return _SIGHTS.validate_json(kept or "{}")
        except ValidationError:
            return {}

    def _see(self, run: Run, beat: str | bytes | None, now: datetime) -> _Sight:
        before = self._sights.get(run.flow_run_id)
        if before is not None and (before.state_id, before.beat) == (run.state_id, beat):
            return replace(before, since=min(before.since, now))  # of a keeper whose clock was ahead
        return _Sight(run.state_id, beat, now)

    def _judge(self, run: Run, now: datetime) -> Verdict | None:
        sight = self._sights[run.flow_run_id]
        unchanged = now - sight.since
        if run.state is RunState.PENDING and unchanged > self._pending_limit:
            return Verdict(run, RunState.CRASHED, "Its process did not start in time.")
        silent = unchanged > (self._silence if sight.beat is not None else FIRST_BEAT)
        if run.state is RunState.RUNNING and silent:
            return Verdict(run, RunState.CRASHED, "Its process gave no sign of life.")
        if run.state is RunState.CANCELLING and silent:
            return Verdict(run, RunState.CANCELLED, "Its process gave no sign of life.")
        return None
