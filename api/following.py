"""The events of one job, from where a client left off to the end of the job."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import Final

import anyio
from fastapi.sse import ServerSentEvent
from redis.exceptions import RedisError

from api.feed import Feed
from api.views import RunViews
from tabario.changes import BEGINNING, Change, JobChanges
from tabario.clients.prefect import Run
from tabario.records import JobRecord

RECONNECT_MILLISECONDS: Final = 2000


class EventName(StrEnum):
    """What an event tells. After `done` and `failed` nothing more comes."""

    PROGRESS = "progress"
    DONE = "done"
    FAILED = "failed"


class Following:
    """Follows jobs on behalf of clients."""

    def __init__(self, feed: Feed, changes: JobChanges, views: RunViews) -> None:
        self._feed = feed
        self._changes = changes
        self._views = views

    def place(self, user_id: str, run: Run) -> AbstractContextManager[None]:
        """Holds one of the user's places for as long as `events` are read. Raises TooManyRequests."""
        return self._feed.follow(user_id, run.job.job_id)

    async def events(self, run: Run, last_id: str | None, *, until: datetime) -> AsyncIterator[ServerSentEvent]:
        """What came after `last_id`, or else how things stand, and then every change until the job or `until` comes.

        The client is to connect again when it has not seen the end: a lost Redis ends the events, too.
        """
        job_id, seen = run.job.job_id, last_id or BEGINNING
        try:
            news = await self._changes.since(job_id, last_id) if last_id else []
            if not news:
                news = [await self._present(run)]
            while True:
                for change in news:
                    yield self._event(run, change)
                    seen = change.id or seen
                    if change.record.final:
                        return
                event = self._feed.change_of(job_id)
                news = await self._changes.since(job_id, seen)
                if not news and not await _set_before(event, until):
                    return
        except RedisError:
            return

    async def _present(self, run: Run) -> Change:
        latest = await self._changes.latest(run.job.job_id)
        return latest or Change(id="", record=await self._views.record(run))

    def _event(self, run: Run, change: Change) -> ServerSentEvent:
        return ServerSentEvent(
            data=self._views.progress(run, change.record),
            event=_name(change.record),
            id=change.id or None,
            retry=RECONNECT_MILLISECONDS,
        )


async def _set_before(event: anyio.Event, until: datetime) -> bool:
    with anyio.move_on_after(until.timestamp() - time.time()):
        await event.wait()
        return True
    return False


def _name(record: JobRecord) -> EventName:
    if record.failure is not None:
        return EventName.FAILED
    return EventName.DONE if record.final else EventName.PROGRESS
