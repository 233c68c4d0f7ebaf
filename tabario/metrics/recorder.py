"""Records observations in Redis: exactly once, never slow, and never a reason for a job to fail.

A call waits at most `CALL_SECONDS`. After a failure nothing is sent for `PAUSE_SECONDS`: events go into the outbox, and
a task in the background tries again. What is left at the end of the process goes to disk and is sent by the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Final, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tabario.errors import RetryLater
from tabario.metrics.definitions import REDIS_ERRORS
from tabario.metrics.ledger import Event, MetricsLedger
from tabario.metrics.outbox import Outbox
from tabario.metrics.series import Observation
from tabario.metrics.spool import Spool

CALL_SECONDS: Final = 0.25
PAUSE_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0
CLOSE_PAUSE_SECONDS: Final = 0.2
BATCH_SIZE: Final = 100

_logger = logging.getLogger(__name__)


class Recorder(Protocol):
    """Where observations go."""

    async def record(self, event_id: str, *observations: Observation) -> None:
        """Counts the observations together, once for an event id, whoever reports it how often. Never raises."""


class SureRecorder(Recorder, Protocol):
    """One that can also tell when they have arrived."""

    async def record_now(self, event_id: str, *observations: Observation, happened_at: datetime) -> None:
        """The same for a caller that will report again: when this returns, they are counted. Raises RetryLater.

        `happened_at` tells a report that comes once more, after Redis has lost its memory of the first, from a new one.
        """


class NullRecorder:
    """Records nothing: metrics are switched off."""

    async def record(self, event_id: str, *observations: Observation) -> None:
        """Does nothing."""

    async def record_now(self, event_id: str, *observations: Observation, happened_at: datetime) -> None:
        """Does nothing."""


class RedisRecorder:
    """Sends each event to Redis at once while Redis answers, and from the background when it has stopped to."""

    def __init__(self, ledger: MetricsLedger, spool: Spool, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._ledger = ledger
        self._spool = spool
        self._pause_seconds = pause_seconds
        self._outbox = Outbox()
        self._resending: asyncio.Task[None] | None = None

    async def record(self, event_id: str, *observations: Observation) -> None:
        """Counts the observations, at once or later."""
        event = _event(event_id, observations)
        # The event enters the outbox first: if the caller is cancelled while Redis answers, nothing is lost.
        if self._outbox.put(event) and self._resending is None and not await self._send([event]):
            _logger.warning("Redis takes no observations; they are kept and sent later.")
            self._resend_after(self._pause_seconds)

    async def record_now(self, event_id: str, *observations: Observation, happened_at: datetime) -> None:
        """Counts the observations at once, or raises RetryLater: nothing is kept that would die with this process."""
        if not await self._send([_event(event_id, observations, happened_at)]):
            raise RetryLater("Redis takes no observations.", retry_after=ceil(self._pause_seconds))

    def start(self) -> None:
        """Sends, in the background, what earlier processes left on disk."""
        if not self._spool.is_empty():
            self._resend_after(0)

    async def close(self) -> None:
        """Sends what is left, for at most `CLOSE_SECONDS`, and writes the rest to disk."""
        if self._resending is not None:
            self._resending.cancel()
            with suppress(asyncio.CancelledError):
                await self._resending
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while not await self._send_outbox():  # noqa: ASYNC110 - waits for another process
                    await asyncio.sleep(CLOSE_PAUSE_SECONDS)
        if left := self._outbox.empty():
            await asyncio.to_thread(self._spool.write, left)

    def _resend_after(self, pause_seconds: float) -> None:
        if self._resending is None:
            self._resending = asyncio.create_task(self._resend(pause_seconds), name="send kept observations")

    async def _resend(self, pause_seconds: float) -> None:
        await asyncio.sleep(pause_seconds)
        while not (await self._send_spool() and await self._send_outbox()):  # noqa: ASYNC110 - the same
            await asyncio.sleep(self._pause_seconds)
        # Nothing awaits between the empty outbox and this line, so no event can stay behind.
        self._resending = None

    async def _send_outbox(self) -> bool:
        while batch := self._outbox.batch(BATCH_SIZE):
            if not await self._send(batch):
                return False
        return True

    async def _send_spool(self) -> bool:
        for path, events in self._spool.files():
            for first in range(0, len(events), BATCH_SIZE):
                if not await self._send(events[first : first + BATCH_SIZE]):
                    return False
            self._spool.remove(path)
        return True

    async def _send(self, events: Sequence[Event]) -> bool:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._ledger.add(events)
        except Exception:  # the edge between a job and its metrics: whatever goes wrong with these, the job goes on
            _logger.debug("Redis took no observations.", exc_info=True)
            self._outbox.merge(REDIS_ERRORS.increment().deltas)
            return False
        self._outbox.confirm(events)
        return True


def _event(event_id: str, observations: Sequence[Observation], happened_at: datetime | None = None) -> Event:
    deltas = tuple(delta for observation in observations for delta in observation.deltas)
    return Event(event_id, deltas, happened_at.timestamp() if happened_at is not None else None)


@asynccontextmanager
async def open_recorder(redis_url: str, *, enabled: bool, spool_directory: Path) -> AsyncIterator[SureRecorder]:
    """A recorder for the life of a process. When it closes, everything is in Redis or in `spool_directory`."""
    if not enabled:
        yield NullRecorder()
        return
    redis = Redis.from_url(
        redis_url,
        decode_responses=True,
        socket_timeout=CALL_SECONDS,
        socket_connect_timeout=CALL_SECONDS,
        retry=Retry(NoBackoff(), 0),  # the outbox retries; a retry here would make the caller wait
    )
    async with redis:
        recorder = RedisRecorder(MetricsLedger(redis), Spool(spool_directory))
        recorder.start()
        try:
            yield recorder
        finally:
            await recorder.close()
