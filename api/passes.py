"""What follows from each good pass of the keeper: the list of waiting jobs is compared, and the pass is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import uuid4

from tabario.clients.prefect import Run
from tabario.metrics.definitions import LEASE_EXPIRIES, LEASE_RENEWALS, PROCESSES_LOST, SLOTS_MENDED
from tabario.metrics.recorder import Recorder
from tabario.metrics.series import Observation
from tabario.queue_audit import QueueAudit
from tabario.slots.keeper import PassReport


class Passes:
    """Takes note of passes."""

    def __init__(self, audit: QueueAudit, recorder: Recorder) -> None:
        self._audit = audit
        self._recorder = recorder

    async def note(self, report: PassReport, live: Sequence[Run]) -> None:
        """`live` are all runs that have not ended."""
        await self._audit.look(live)
        if counts := tuple(_counts(report)):
            await self._recorder.record(f"pass:{uuid4()}", *counts)


def _counts(report: PassReport) -> Iterator[Observation]:
    """What happened, without the many passes in which nothing did."""
    for counter, number in (
        (LEASE_RENEWALS, report.renewed),
        (LEASE_EXPIRIES, report.lost),
        (PROCESSES_LOST, report.declared_dead),
    ):
        if number:
            yield counter.increment(number)
    for kind, number in (("freed", report.freed), ("counted", report.counted), ("reclaimed", report.reclaimed)):
        if number:
            yield SLOTS_MENDED.increment(number, kind=kind)
