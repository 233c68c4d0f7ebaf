"""The versions of a job's record, in the order in which they were written, for those who follow the job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from redis.asyncio import Redis

from tabario import names
from tabario.records import RECORD_FIELD, JobRecord

BEGINNING: Final = "0-0"


@dataclass(frozen=True)
class Change:
    """A version of a record. `id` grows from version to version."""

    id: str
    record: JobRecord


class JobChanges:
    """Reads the streams that `tabario.records` writes. `redis` decodes its answers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def since(self, job_id: UUID, last_id: str) -> list[Change]:
        """What came after `last_id`, as far back as the stream is kept."""
        entries: Any = await self._redis.xrange(names.changes_key(str(job_id)), min=f"({last_id}")
        return _changes(entries)

    async def latest(self, job_id: UUID) -> Change | None:
        """The present version, or None when the stream is gone."""
        entries: Any = await self._redis.xrevrange(names.changes_key(str(job_id)), count=1)
        return next(iter(_changes(entries)), None)

    async def wait(self, positions: Mapping[UUID, str], *, seconds: float) -> dict[UUID, str]:
        """Waits until one of the jobs changes, at most so long.

        `positions` are the last known ids; the answer has the new ones, of those jobs only that changed.
        """
        jobs = {names.changes_key(str(job_id)): (job_id, last_id) for job_id, last_id in positions.items()}
        streams: Any = {key: last_id for key, (_, last_id) in jobs.items()}
        found: Any = await self._redis.xread(streams, block=round(seconds * 1000))
        news = found.items() if isinstance(found, dict) else found
        return {jobs[key][0]: str(entries[-1][0]) for key, entries in news}


def _changes(entries: Iterable[tuple[str, Mapping[str, str]]]) -> list[Change]:
    return [Change(id=one, record=JobRecord.model_validate_json(fields[RECORD_FIELD])) for one, fields in entries]
