"""The totals that all processes record in Redis.

jobs_completed_total 41.0
jobs_failed_total{reason="timeout"} 1.0
image_generation_seconds_bucket{le="60.0",step="text2image",workflow="text2image"} 280.0
redis_errors_total 0.0
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from prometheus_client.metrics_core import Metric as Family
from redis.exceptions import RedisError

from monitoring.families import recorded_families
from monitoring.high_water import HighWater, HighWaterFile
from tabario.metrics.definitions import REDIS_ERRORS
from tabario.metrics.ledger import MetricsLedger, Totals
from tabario.metrics.outbox import Outbox


class RecordedTotals:
    """Reads the totals, and begins a new epoch from zero when Redis lost some.

    Counts that were recorded between the loss and the read that finds it are lost with it.
    """

    name: ClassVar = "recorded"
    keeps_values: ClassVar = True

    def __init__(self, ledger: MetricsLedger, file: HighWaterFile) -> None:
        self._ledger = ledger
        self._file = file
        self._mark: HighWater | None = None
        self._own_errors = Outbox()

    async def read(self) -> Sequence[Family]:
        """The families of every recorded metric."""
        try:
            totals = await self._read_totals()
            if await self._hand_in_errors():
                totals = await self._read_totals()
        except RedisError:
            self._own_errors.merge(REDIS_ERRORS.increment().deltas)
            raise
        return tuple(recorded_families(totals.values))

    async def _hand_in_errors(self) -> bool:
        """Records errors of this process, so that the next one shows them too; says whether there were any.

        After a good read, for that may have begun a new epoch.
        """
        batch = self._own_errors.batch(1)
        if batch:
            await self._ledger.add(batch)
            self._own_errors.confirm(batch)
        return bool(batch)

    async def _read_totals(self) -> Totals:
        mark = self._mark if self._mark is not None else await asyncio.to_thread(self._file.read)
        totals = await self._ledger.read()
        if totals.epoch is not None and mark.is_rolled_back(totals):
            await self._ledger.begin_epoch(instead_of=totals.epoch, lost=mark.totals)
            totals = await self._ledger.read()
        self._mark = mark.accept(totals)
        if self._mark != mark:
            await asyncio.to_thread(self._file.write, self._mark)
        return totals
