"""Wakes those who follow jobs. However many they are, one connection to Redis waits for all of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import anyio
from redis.exceptions import RedisError

from tabario.changes import BEGINNING, JobChanges
from tabario.errors import TooManyRequests

MAX_PER_USER: Final = 6  # in one process; a browser opens no more to one host either
WAIT_SECONDS: Final = 1.0  # a job that somebody begins to follow is waited for from the next turn on
RETRY_SECONDS: Final = 2

log = logging.getLogger(__name__)


@dataclass
class _Followed:
    position: str = BEGINNING
    followers: int = 0
    change: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        self.change.set()
        self.change = anyio.Event()


class Feed:
    """`run` it as a task."""

    def __init__(self, changes: JobChanges) -> None:
        self._changes = changes
        self._jobs: dict[UUID, _Followed] = {}
        self._followers: Counter[str] = Counter()
        self._somebody = anyio.Event()

    @contextmanager
    def follow(self, user_id: str, job_id: UUID) -> Iterator[None]:
        """The job's changes wake, until the block ends. Raises TooManyRequests."""
        if self._followers[user_id] >= MAX_PER_USER:
            raise TooManyRequests(f"You may follow {MAX_PER_USER} jobs at once.", retry_after=RETRY_SECONDS)
        job = self._jobs.setdefault(job_id, _Followed())
        job.followers += 1
        self._followers[user_id] += 1
        self._somebody.set()
        try:
            yield
        finally:
            job.followers -= 1
            self._followers[user_id] -= 1
            if not job.followers:
                del self._jobs[job_id]
            if not self._followers[user_id]:
                del self._followers[user_id]

    def followers_of(self, job_id: UUID) -> int:
        """How many follow the job through this process."""
        return self._jobs[job_id].followers if job_id in self._jobs else 0

    def change_of(self, job_id: UUID) -> anyio.Event:
        """Set at the next change of a followed job. Take it before you look at the job, and you miss no change."""
        return self._jobs[job_id].change

    async def run(self) -> None:
        """Waits for changes until cancelled."""
        while True:
            if not self._jobs:
                self._somebody = anyio.Event()
                await self._somebody.wait()
            try:
                await self._wait()
            except RedisError as error:
                log.warning("Redis does not answer those who follow jobs (%s).", type(error).__name__)
                await anyio.sleep(RETRY_SECONDS)

    async def _wait(self) -> None:
        positions = {job_id: job.position for job_id, job in self._jobs.items()}
        for job_id, position in (await self._changes.wait(positions, seconds=WAIT_SECONDS)).items():
            if job := self._jobs.get(job_id):
                job.position = position
                job.wake()
