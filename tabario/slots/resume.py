"""Puts crashed runs back in their queue, a limited number of times. What they have made is not made again."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.models import Run, RunState
from tabario.clients.prefect.runs import PrefectApi
from tabario.slots.clock import Clock

CRASH_SETTLES: Final = timedelta(seconds=5)  # a worker reports a crash twice; the second would undo a resume
KEY_SECONDS: Final = 7 * 24 * 3600

log = logging.getLogger(__name__)


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
        key = names.resumes_key(run.flow_run_id)
        used = await self._used(run) + 1
        await self._redis.set(key, used, ex=KEY_SECONDS)
        log.info("Resuming %s, time %d of %d.", run.flow_run_id, used, self._resumes)
        return await self._prefect.resume_run(run, f"Resumed after a crash, time {used} of {self._resumes}.")
