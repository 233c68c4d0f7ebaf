"""The list of accepted jobs that have not started.

queue_depth 3.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from prometheus_client.metrics_core import Metric as Family

from monitoring.families import gauge_family
from tabario.metrics.definitions import QUEUE_DEPTH
from tabario.queue import JobQueue


class QueueDepth:
    """Reads the length of the Redis list."""

    name: ClassVar = "queue"
    keeps_values: ClassVar = False

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    async def read(self) -> Sequence[Family]:
        """The family `queue_depth`."""
        return (gauge_family(QUEUE_DEPTH, {(): await self._queue.depth()}),)
