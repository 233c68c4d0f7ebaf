"""The workers of the pool, as Prefect sees them.

Prefect calls a worker offline after three missed heartbeats (30 s each by default) and looks every 15 s, so
`worker_active` turns 0 at most about two minutes after the last worker died.

    worker_active 1.0
    video_orchestrator_workers{status="online",work_pool="tabario"} 2.0
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from prometheus_client.metrics_core import Metric as Family

from monitoring.families import gauge_family
from monitoring.prefect_reader import PrefectReader
from tabario import names
from tabario.metrics.definitions import WORKER_ACTIVE, WORKERS


class Workers:
    """Counts the pool's workers by status."""

    name: ClassVar = "workers"
    keeps_values: ClassVar = False

    def __init__(self, prefect: PrefectReader) -> None:
        self._prefect = prefect

    async def read(self) -> Sequence[Family]:
        """The families `worker_active` and workers by status."""
        found = Counter(str(worker["status"]).lower() for worker in await self._prefect.workers(names.WORK_POOL))
        counts = {(names.WORK_POOL, status): found[status] for status in ("online", "offline")}
        return (
            gauge_family(WORKER_ACTIVE, {(): int(found["online"] > 0)}),
            gauge_family(WORKERS, counts),
        )
