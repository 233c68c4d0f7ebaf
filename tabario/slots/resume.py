"""Puts crashed runs back in their queue, a limited number of times. What they have made is not made again."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import LockError

from tabario import names
from tabario.clients.prefect.http import NotDone
from tabario.clients.prefect.models import Run, RunState
from tabario.clients.prefect.runs import PrefectApi
from tabario.errors import RetryLater
from tabario.slots.clock import Clock

CRASH_SETTLES: Final = timedelta(seconds=5)  # a worker reports a crash twice; the second would undo a resume
KEY_SECONDS: Final = 7 * 24 * 3600
MOVING_SECONDS: Final = 30.0  # one who dies while moving a run is replaced after this
MOVING_PATIENCE: Final = 5.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def moving(redis: Redis, flow_run_id: UUID) -> AsyncIterator[None]:
    """Lets one at a time move a crashed run on: its owner may cancel it while the keeper starts it over.

    Prefect cannot compare and set a state. Raises RetryLater when the other takes long.
    """
    lock = redis.lock(names.moving_key(flow_run_id), timeout=MOVING_SECONDS, blocking_timeout=MOVING_PATIENCE)
    if not await lock.acquire():
        raise RetryLater("The job is just being started over; try again in a few seconds.")
    try:
        yield
    finally:
        with suppress(LockError):  # it ran out; whoever has it now must keep it
            await lock.release()


class Resumer:
    """Resumes each crashed run at most `resumes` times."""

    def __init__(self, prefect: PrefectApi, redis: Redis, *, resumes: int, clock: Clock) -> None:
        self._prefect = prefect
        self._redis = redis
        self._resumes = resumes
        self._clock = clock

    async def may_resume(self, run: Run) -> bool:
        """Whether the run crashed and has resumes left, so that its slot is still its own."""
        return run.state is RunState.CRASHED and await self._used(run) < self._resumes

    async def _used(self, run: Run) -> int:
        # A run that crashed before it started has no run count; a flushed Redis has no counter.
        counted = await self._redis.get(names.resumes_key(run.flow_run_id))
        return max(run.run_count - 1, int(counted or 0))

    async def resume(self, run: Run) -> bool:
        """Queues the run again; says False when it is too early or somebody else moved it on."""
        if self._clock() - run.state_since < CRASH_SETTLES:
            return False
        async with moving(self._redis, run.flow_run_id):
            return await self._resume(run, await self._used(run))

    async def _resume(self, run: Run, used: int) -> bool:
        """Counts before it acts, so as not to resume more often; takes that back when nothing was done."""
        key = names.resumes_key(run.flow_run_id)
        await self._redis.set(key, used + 1, ex=KEY_SECONDS)
        await self._redis.delete(names.beat_key(run.flow_run_id))  # the next process has not beaten yet
        log.info("Resuming %s, time %d of %d.", run.flow_run_id, used + 1, self._resumes)
        try:
            resumed = await self._prefect.resume_run(run, f"Resumed after a crash, time {used + 1} of {self._resumes}.")
        except NotDone:
            await self._redis.set(key, used, ex=KEY_SECONDS)
            raise
        if not resumed:
            await self._redis.set(key, used, ex=KEY_SECONDS)
        return resumed
