"""What happens once when a run has ended: its slot is freed, and those who asked are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.leases import Lease
from tabario.clients.prefect.models import Run
from tabario.slots.release import Releaser

ENDING_SECONDS: Final = 60
ENDED_SECONDS: Final = 7 * 24 * 3600

EndedHook = Callable[[Run], Awaitable[None]]


class Endings:
    """Settles ended runs. `bookkeeping` keeps releases apart from repairs of the count."""

    def __init__(
        self, redis: Redis, releaser: Releaser, hooks: Sequence[EndedHook], *, bookkeeping: anyio.Lock
    ) -> None:
        self._redis = redis
        self._releaser = releaser
        self._hooks = {f"hook-{number}": hook for number, hook in enumerate(hooks)}
        self._bookkeeping = bookkeeping

    async def is_settled(self, run: Run) -> bool:
        """Whether everything has been done. A run that was started again by hand holds another lease."""
        return bool(await self._redis.sismember(names.ended_key(run.flow_run_id), str(run.lease_id)))

    async def settle(self, run: Run) -> bool:
        """Frees the slot and calls each hook; says whether everything is done now.

        A hook that fails is called again the next time; those that succeeded are not. A process that dies within a
        hook cannot tell, so a hook must bear a second call.
        """
        key = names.ending_key(run.flow_run_id)
        if await self.is_settled(run):
            return True
        if not await self._redis.set(key, 1, nx=True, ex=ENDING_SECONDS):
            return False
        try:
            async with self._bookkeeping:
                await self._releaser.release(Lease(run.lease_id, run.limit))
            await self._call_hooks(run)
            await self._note(run, str(run.lease_id))
        finally:
            await self._redis.delete(key, names.beat_key(run.flow_run_id))  # one begun again by hand has not beaten yet
        return True

    async def _call_hooks(self, run: Run) -> None:
        done = await self._redis.smembers(names.ended_key(run.flow_run_id))
        for name, hook in self._hooks.items():
            deed = f"{run.lease_id}/{name}"  # a run that was started again by hand ends once more
            if deed not in done:
                await hook(run)
                await self._note(run, deed)

    async def _note(self, run: Run, deed: str) -> None:
        key = names.ended_key(run.flow_run_id)
        async with self._redis.pipeline() as pipeline:
            pipeline.sadd(key, deed)
            pipeline.expire(key, ENDED_SECONDS)
            await pipeline.execute()
