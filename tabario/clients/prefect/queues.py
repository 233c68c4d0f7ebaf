"""Work queues: which goes first, and whether runs have waited long in one."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import httpx
from pydantic import BaseModel

from tabario import names
from tabario.clients.prefect.http import PrefectHttp, accepted
from tabario.tiers import Tier

QUEUES: Final = f"/work_pools/{names.WORK_POOL}/queues"


class WorkQueue(BaseModel):
    """A queue of our work pool. The lowest `priority` goes first."""

    id: UUID
    priority: int


class WorkQueues:
    """The queues of our work pool, one for each tier."""

    def __init__(self, http: PrefectHttp) -> None:
        self._http = http

    async def read(self, tier: Tier) -> WorkQueue | None:
        """The tier's queue, or None when it is not deployed."""
        answer = await self._http.read("GET", f"{QUEUES}/{names.WORK_QUEUES[tier]}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return WorkQueue.model_validate(accepted(answer).json())

    async def set_priority(self, queue: WorkQueue, priority: int) -> None:
        """Changes the queue's priority and nothing else: a paused queue stays paused.

        Two queues may have the same priority. Prefect then serves their runs together, the oldest first. The address
        matters: a change by the pool's and the queue's name would move the other queues aside.
        """
        accepted(await self._http.write("PATCH", f"/work_queues/{queue.id}", {"priority": priority}))

    async def has_waiting(self, tier: Tier, *, since: datetime) -> bool:
        """Whether a run has been due in the tier's queue since then or longer."""
        where = {
            "work_pools": {"name": {"any_": [names.WORK_POOL]}},
            "work_pool_queues": {"name": {"any_": [names.WORK_QUEUES[tier]]}},
            "flow_runs": {
                "state": {"type": {"any_": ["SCHEDULED"]}},
                "next_scheduled_start_time": {"before_": since.isoformat()},
            },
        }
        answer = await self._http.read("POST", "/flow_runs/count", where)
        return int(accepted(answer).json()) > 0
