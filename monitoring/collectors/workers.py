"""The workers of the pool, as Prefect sees them.

Prefect calls a worker offline after three missed heartbeats (30 s each by default) and looks every 15 s, so
`worker_active` turns 0 at most about two minutes after the last worker died.

A worker that is restarted all the time never looks dead for so long, but has a new name at each start. Prefect keeps
the old names and shows the 200 that it heard of last, so it is the new ones that tell: the dead soon fill the page.

    worker_active 1.0
    video_orchestrator_workers{status="online",work_pool="tabario"} 2.0
    video_orchestrator_workers_new 1.0
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final

from prometheus_client.metrics_core import Metric as Family

from monitoring.families import gauge_family
from monitoring.prefect_reader import PrefectReader
from tabario import names
from tabario.metrics.definitions import WORKER_ACTIVE, WORKERS, WORKERS_NEW
from tabario.slots.clock import Clock, utc_now

NEW_FOR: Final = timedelta(hours=1)


class Workers:
    """Counts the pool's workers by status, and the new ones."""

    name: ClassVar = "workers"
    keeps_values: ClassVar = False

    def __init__(self, prefect: PrefectReader, *, clock: Clock = utc_now) -> None:
        self._prefect = prefect
        self._clock = clock

    async def read(self) -> Sequence[Family]:
        """The families `worker_active`, workers by status, and new workers."""
        workers = await self._prefect.workers(names.WORK_POOL)
        found = Counter(str(worker["status"]).lower() for worker in workers)
        since = self._clock() - NEW_FOR
        counts = {(names.WORK_POOL, status): found[status] for status in ("online", "offline")}
        return (
            gauge_family(WORKER_ACTIVE, {(): int(found["online"] > 0)}),
            gauge_family(WORKERS, counts),
            gauge_family(
                WORKERS_NEW, {(): sum(datetime.fromisoformat(worker["created"]) > since for worker in workers)}
            ),
        )
