"""Keeps the list of waiting jobs true, so that `queue_depth` is the number of runs that wait.

A front door that dies between the entry and its run leaves a ghost; a lost entry makes a job invisible.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from redis.exceptions import RedisError

from tabario.clients.prefect import Run, RunState
from tabario.metrics.definitions import QUEUE_DRIFT
from tabario.metrics.recorder import Recorder
from tabario.queue import JobQueue

GHOST_SECONDS: Final = 90.0  # longer than a start takes, its retries included
MISSING_SECONDS: Final = 5.0  # longer than a run takes to say that it runs after it has left the list

_WAITING: Final = frozenset({RunState.QUEUED, RunState.PENDING})

log = logging.getLogger(__name__)


class QueueAudit:
    """Compares the list with the live runs of each of the keeper's passes, and mends what stays wrong."""

    def __init__(self, queue: JobQueue, recorder: Recorder, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._recorder = recorder
        self._monotonic = monotonic
        self._ghosts: dict[str, float] = {}
        self._missing: dict[str, float] = {}

    async def look(self, live: Sequence[Run]) -> None:
        """One comparison. `live` are all runs that have not ended. Without Redis it waits for the next."""
        waiting = {str(run.job.job_id) for run in live if run.state in _WAITING and run.run_count == 0}
        try:
            listed = set(await self._queue.entries())
            self._ghosts = self._since(self._ghosts, listed - waiting)
            self._missing = self._since(self._missing, waiting - listed)
            for entry in self._older_than(self._ghosts, GHOST_SECONDS):
                await self._queue.remove(entry)
                await self._count("ghost", entry)
            for job_id in self._older_than(self._missing, MISSING_SECONDS):
                await self._queue.push(UUID(job_id))
                await self._count("missing", job_id)
        except RedisError as error:
            log.warning("The list of waiting jobs cannot be checked (%s).", type(error).__name__)

    def _since(self, before: dict[str, float], wrong: set[str]) -> dict[str, float]:
        now = self._monotonic()
        return {entry: before.get(entry, now) for entry in wrong}

    def _older_than(self, wrong: dict[str, float], seconds: float) -> list[str]:
        now = self._monotonic()
        return [entry for entry, since in wrong.items() if now - since >= seconds]

    async def _count(self, kind: str, entry: str) -> None:
        log.warning("The list of waiting jobs was wrong about %s: %s.", entry, kind)
        await self._recorder.record(f"queue-drift:{uuid.uuid4()}", QUEUE_DRIFT.increment(kind=kind))
