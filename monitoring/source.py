"""What the exporter reads from, and how it remembers the last answer of each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.metrics_core import Metric as Family

_logger = logging.getLogger(__name__)


class Source(Protocol):
    """One thing to read."""

    @property
    def name(self) -> str:
        """One of the values of the label `source`."""

    @property
    def keeps_values(self) -> bool:
        """Whether the last answer is shown while the source is down: totals only lag, but present states would lie."""

    async def read(self) -> Sequence[Family]:
        """The families as they are now. Any error means that the source is down."""


@dataclass(frozen=True)
class Answer:
    """How the last read of a source went.

    `seconds` is its duration, `succeeded_at` the Unix time of the last one that succeeded.
    """

    up: bool
    seconds: float
    succeeded_at: float | None
    families: Sequence[Family]


class Poller:
    """Reads one source again and again, so that a scrape never waits for it."""

    def __init__(self, source: Source, *, interval: float) -> None:
        self.source = source
        self.answer: Answer | None = None
        self._interval = interval

    async def run(self) -> None:
        """Reads every `interval` seconds until cancelled."""
        while True:
            began = time.monotonic()
            await self.poll()
            await asyncio.sleep(max(0.0, began + self._interval - time.monotonic()))

    async def poll(self) -> None:
        """Reads once. Never raises: one broken source must not stop the others."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._interval):
                families = await self.source.read()
        except Exception as error:  # noqa: BLE001 - the edge of a background task: every error becomes `source_up 0`
            self._failed(error, time.monotonic() - began)
        else:
            if self.answer is None or not self.answer.up:
                _logger.info("The source %s answers.", self.source.name)
            self.answer = Answer(True, time.monotonic() - began, time.time(), families)

    def _failed(self, error: Exception, seconds: float) -> None:
        last = self.answer
        if last is None or last.up:
            _logger.warning("The source %s does not answer: %s", self.source.name, error, exc_info=error)
        families = last.families if last is not None and self.source.keeps_values else ()
        self.answer = Answer(False, seconds, last.succeeded_at if last is not None else None, families)
