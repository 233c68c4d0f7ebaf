"""The list of accepted jobs that have not started yet: what `queue_depth` counts.

Prefect decides who runs next; this list only tells how many wait. A job enters before its flow run is created,
or a fast worker would find nothing to remove.
"""

from __future__ import annotations

from uuid import UUID

from redis.asyncio import Redis

from tabario import names


class JobQueue:
    """The Redis list `video_orchestrator:queue`, newest job first."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def push(self, job_id: UUID) -> None:
        """Adds an accepted job."""
        await self._redis.lpush(names.QUEUE_KEY, str(job_id))

    async def remove(self, entry: UUID | str) -> bool:
        """Takes a job, or what somebody else put there, off the list; says whether it was there. Safe to repeat."""
        return bool(await self._redis.lrem(names.QUEUE_KEY, 0, str(entry)))

    async def entries(self) -> list[str]:
        """The jobs' ids, newest first, or whatever else is on the list. The client must decode its answers."""
        entries: list[str] = await self._redis.lrange(names.QUEUE_KEY, 0, -1)  # type: ignore[assignment]  # the client decodes
        return entries

    async def depth(self) -> int:
        """How many jobs wait."""
        return int(await self._redis.llen(names.QUEUE_KEY))
