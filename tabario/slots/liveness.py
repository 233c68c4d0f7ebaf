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
TWO_BEATS: Final = timedelta(seconds=2 * BEAT_SECONDS)
"""What counts as watched between two looks, at most: in a longer time nobody may have noticed that Redis was away. And
what each run is given at least to be heard again after a gap in the watch."""
LONGEST_PAUSE: Final = timedelta(seconds=40)
"""Between two attempts of Prefect's own client, which doubles its pauses: 32 s and a fifth."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A run to be declared ended, in this state, for this reason."""

    run: Run
    state: RunState
    reason: str


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was last seen of a run, since when that has not changed, and for how much of that time it was watched."""

    state_id: UUID
    beat: str | bytes | None
    since: AwareDatetime
    watched: timedelta = timedelta()


_SIGHTS: Final = TypeAdapter(dict[UUID, _Sight])


class Liveness:
    """Watches whether runs begin and beat.

    What was seen is kept in Redis, so that the next keeper need not begin anew. All is compared with what was seen
    before, on the keeper's clock: those of flows and of Prefect do not matter, those of keepers may be seconds apart.
    `redis` decodes its answers.

    While Redis is away no flow can say that it lives, and in a gap of the watch it may have been away. So the watch is
    added up over its gaps, and a run is dead only if it was watched for half of its time, or 30 s. A run that has not
    beaten yet needs Prefect to begin, and is given as long as Prefect was away: of an outage before it a new keeper
    does not know. Keepers that each look only once find nobody dead.
    """

    def __init__(self, redis: Redis, settings: SlotSettings, *, clock: Clock) -> None:
        self._redis = redis
        self._silence = timedelta(seconds=settings.silence)
        self._pending_limit = timedelta(seconds=settings.pending_limit)
        self._clock = clock
        self._sights: dict[UUID, _Sight] = {}
        self._began: datetime | None = None
        self._looked = self._excused_until = clock()
        self._prefect_was_away = False

    def pause(self) -> None:
        """Ends the watch; the next look begins another. Meanwhile another keeper may watch, or no flow be heard."""
        self._began = None

    def note_outage(self) -> None:
        """Prefect did not answer: runs that begin may be waiting for it. Those that beat do not need it to be heard."""
        self._prefect_was_away = True

    async def look(self, live: Sequence[Run]) -> list[Verdict]:
        """The verdicts on those of the live runs that are dead. Raises RedisError."""
        beats = await self._redis.mget([names.beat_key(run.flow_run_id) for run in live])
        now = self._clock()
        if self._prefect_was_away:
            self._prefect_was_away, self._excused_until = False, now + (now - self._looked)
        self._excused_until = min(self._excused_until, now + LONGEST_PAUSE)
        if self._began is None or now < self._looked:  # the clock was set back
            self._began = self._looked = now
            self._sights = await self._recall()
        step, self._looked = min(now - self._looked, TWO_BEATS), now
        self._sights = {run.flow_run_id: self._see(run, beat, now, step) for run, beat in zip(live, beats, strict=True)}
        await self._redis.set(names.KEEPER_SIGHTS_KEY, _SIGHTS.dump_json(self._sights), ex=KEY_SECONDS)
        return [verdict for run in live if (verdict := self._judge(run, now))]

    async def confirm(self, verdict: Verdict) -> bool:
        """Whether the run is as silent as when the verdict was made. Raises RedisError."""
        beat = await self._redis.get(names.beat_key(verdict.run.flow_run_id))
        return self._sights[verdict.run.flow_run_id].beat == beat

    async def _recall(self) -> dict[UUID, _Sight]:
        """What a keeper saw last; nothing when there was none, or it was of another version."""
        kept = await self._redis.get(names.KEEPER_SIGHTS_KEY)
        try:
            return _SIGHTS.validate_json(kept or "{}")
        except ValidationError:
            return {}

    def _see(self, run: Run, beat: str | bytes | None, now: datetime, step: timedelta) -> _Sight:
        before = self._sights.get(run.flow_run_id)
        if before is None or (before.state_id, before.beat) != (run.state_id, beat):
            return _Sight(run.state_id, beat, now)
        since = min(before.since, now)  # of a keeper whose clock was ahead
        return replace(before, since=since, watched=before.watched + step)

    def _judge(self, run: Run, now: datetime) -> Verdict | None:
        sight = self._sights[run.flow_run_id]
        if run.state is RunState.PENDING:
            limit, begun = self._pending_limit, False
        elif sight.beat is None:
            limit, begun = FIRST_BEAT, False
        else:
            limit, begun = self._silence, True
        if now - sight.since <= limit or sight.watched < min(limit, FIRST_BEAT) / 2:
            return None
        if self._began is None or now - self._began < TWO_BEATS or (now < self._excused_until and not begun):
            return None
        match run.state:
            case RunState.PENDING:
                return Verdict(run, RunState.CRASHED, "Its process did not start in time.")
            case RunState.RUNNING:
                return Verdict(run, RunState.CRASHED, "Its process gave no sign of life.")
            case RunState.CANCELLING:
                return Verdict(run, RunState.CANCELLED, "Its process gave no sign of life.")
            case _:
                return None
