"""What waits in Redis: accepted jobs that have not started, and completion webhooks that have not arrived.

queue_depth 3.0
video_orchestrator_webhooks_pending 1.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from prometheus_client.metrics_core import Metric as Family

from monitoring.families import gauge_family
from tabario.metrics.definitions import QUEUE_DEPTH, WEBHOOKS_PENDING
from tabario.queue import JobQueue
from tabario.webhooks.outbox import Outbox


class QueueDepth:
    """Reads the lengths of the list of jobs and of the outbox."""

    name: ClassVar = "queue"
    keeps_values: ClassVar = False

    def __init__(self, queue: JobQueue, outbox: Outbox) -> None:
        self._queue = queue
        self._outbox = outbox

    async def read(self) -> Sequence[Family]:
        """The two families."""
        return (
            gauge_family(QUEUE_DEPTH, {(): await self._queue.depth()}),
            gauge_family(WEBHOOKS_PENDING, {(): await self._outbox.pending()}),
        )
