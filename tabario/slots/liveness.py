"""Finds runs whose process is gone though Prefect believes it alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.models import Run, RunState
from tabario.settings import SlotSettings
from tabario.slots.clock import Clock

FIRST_BEAT: Final = timedelta(seconds=60)
"""It comes a few seconds after a run is RUNNING, and as soon after a Redis that forgot all beats is back."""


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


class Liveness:
    """Watches beats and waiting times.

    A beat is compared with what this process saw before, so the clocks of other hosts do not matter.
    """

    def __init__(self, redis: Redis, settings: SlotSettings, *, clock: Clock) -> None:
        self._redis = redis
        self._silence = timedelta(seconds=settings.silence)
        self._pending_limit = timedelta(seconds=settings.pending_limit)
        self._clock = clock
        self._sights: dict[UUID, _Sight] = {}

    def forget(self) -> None:
        """Starts to watch anew: after a gap in the watch, silence proves nothing."""
        self._sights.clear()

    async def look(self, live: Sequence[Run]) -> list[Verdict]:
        """The verdicts on those of the live runs that are dead."""
        beats = await self._redis.mget([names.beat_key(run.flow_run_id) for run in live])
        now = self._clock()
        self._sights = {run.flow_run_id: self._see(run, beat, now) for run, beat in zip(live, beats, strict=True)}
        return [verdict for run in live if (verdict := self._judge(run, self._sights[run.flow_run_id], now))]

    def _see(self, run: Run, beat: str | bytes | None, now: datetime) -> _Sight:
        before = self._sights.get(run.flow_run_id)
        if before is not None and (before.state_id, before.beat) == (run.state_id, beat):
            return before
        return _Sight(run.state_id, beat, now)

    def _judge(self, run: Run, sight: _Sight, now: datetime) -> Verdict | None:
        in_state = now - run.state_since
        if run.state is RunState.PENDING and in_state > self._pending_limit:
            return Verdict(run, RunState.CRASHED, "Its process did not start in time.")
        silent = now - sight.since > (self._silence if sight.beat is not None else FIRST_BEAT)
        if run.state is RunState.RUNNING and silent:
            return Verdict(run, RunState.CRASHED, "Its process gave no sign of life.")
        if run.state is RunState.CANCELLING and (silent or (sight.beat is None and in_state > self._pending_limit)):
            return Verdict(run, RunState.CANCELLED, "Its process gave no sign of life.")
        return None
