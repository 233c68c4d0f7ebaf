"""Finds runs whose process is gone though Prefect believes it alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.models import Run, RunState
from tabario.settings import SlotSettings
from tabario.slots.clock import Clock
from tabario.slots.heartbeat import BEAT_SECONDS, KEY_SECONDS

FIRST_BEAT: Final = timedelta(seconds=60)
"""It comes a few seconds after a run is RUNNING, and as soon after a Redis that forgot all beats is back."""
ENOUGH: Final = timedelta(seconds=4 * BEAT_SECONDS)
"""Before that nobody is found silent: in a gap of the watch Redis may have been away, and takes beats again first."""


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
    since: datetime


_SIGHTS: Final = TypeAdapter(dict[UUID, _Sight])


class Liveness:
    """Watches beats and waiting times.

    What was seen is kept in Redis, so that the next keeper need not begin anew. A beat is compared with what was seen
    before: the clocks of flows do not matter, and those of keepers may be seconds apart. `redis` decodes its answers.
    """

    def __init__(self, redis: Redis, settings: SlotSettings, *, clock: Clock) -> None:
        self._redis = redis
        self._silence = timedelta(seconds=settings.silence)
        self._pending_limit = timedelta(seconds=settings.pending_limit)
        self._clock = clock
        self._sights: dict[UUID, _Sight] = {}
        self._began: datetime | None = None

    def pause(self) -> None:
        """Ends the watch; the next look begins another. Meanwhile another keeper may watch, or no flow can beat."""
        self._began = None

    async def look(self, live: Sequence[Run]) -> list[Verdict]:
        """The verdicts on those of the live runs that are dead. Raises RedisError."""
        beats = await self._redis.mget([names.beat_key(run.flow_run_id) for run in live])
        now = self._clock()
        if self._began is None:
            self._sights = await self._recall()
            self._began = now
        self._sights = {run.flow_run_id: self._see(run, beat, now) for run, beat in zip(live, beats, strict=True)}
        await self._redis.set(names.KEEPER_SIGHTS_KEY, _SIGHTS.dump_json(self._sights), ex=KEY_SECONDS)
        watched = now - self._began >= min(ENOUGH, self._silence)
        return [verdict for run in live if (verdict := self._judge(run, now, watched=watched))]

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
            return before
        return _Sight(run.state_id, beat, now)

    def _judge(self, run: Run, now: datetime, *, watched: bool) -> Verdict | None:
        sight, in_state = self._sights[run.flow_run_id], now - run.state_since
        if run.state is RunState.PENDING and in_state > self._pending_limit:
            return Verdict(run, RunState.CRASHED, "Its process did not start in time.")
        silent = watched and now - sight.since > (self._silence if sight.beat is not None else FIRST_BEAT)
        if run.state is RunState.RUNNING and silent:
            return Verdict(run, RunState.CRASHED, "Its process gave no sign of life.")
        if run.state is RunState.CANCELLING and (silent or (sight.beat is None and in_state > self._pending_limit)):
            return Verdict(run, RunState.CANCELLED, "Its process gave no sign of life.")
        return None
