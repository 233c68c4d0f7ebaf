"""A client's own reference to a job: reserved atomically while the job starts.

Once the run exists, Prefect knows the reference as part of the run's name; until then only the reservation does.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

from tabario import names
from tabario.errors import Conflict, InProgress
from tabario.jobs import Job

RESERVED_SECONDS: Final = 120  # longer than any start takes, its retries included
RETRY_SECONDS: Final = 5

# Only the holder may release: the reservation could have expired and be another job's by now.
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def run_id_busy() -> InProgress:
    """The error for a `run_id` that is reserved for a job of which no run exists yet, or ever will."""
    return InProgress("A job with this run_id is being started.", retry_after=RETRY_SECONDS)


def run_id_taken() -> Conflict:
    """The error for a `run_id` that another job of the user has."""
    return Conflict("You have used this run_id before. Choose another, or leave it out.", code="run_id_taken")


class RunReferences:
    """Reservations of `run_id`s in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def reserve(self, job: Job) -> bool:
        """Reserves the job's `run_id`. Says False when it is reserved for another job of the user."""
        reserved = await self._redis.set(_key(job), str(job.job_id), nx=True, ex=RESERVED_SECONDS)
        return bool(reserved) or await self._redis.get(_key(job)) == str(job.job_id)

    async def release(self, job: Job) -> None:
        """Gives the `run_id` back. Does nothing when it is not this job's."""
        await self._redis.eval(_RELEASE, 1, _key(job), str(job.job_id))


def _key(job: Job) -> str:
    return names.run_reference_key(job.user_id, job.run_id)
