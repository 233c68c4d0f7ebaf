"""Watches the invariants from outside, from the first job to the last, and gives the verdict."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.witness import Sighting, Witness, oversold

LOOK_SECONDS: Final = 0.5

ENDS: Final[dict[str, tuple[str, ...]]] = {
    "jobs_completed_total": ("COMPLETED",),
    "jobs_failed_total": ("FAILED", "CRASHED"),
    "video_orchestrator_jobs_cancelled_total": ("CANCELLED",),
}
"""The states in which runs end that each counter counts."""


class Checker:
    """Looks at Prefect's database all the time, in a thread of its own. `limits` may grow meanwhile."""

    def __init__(self, witness: Witness, limits: Mapping[str, int]) -> None:
        self._witness = witness
        self._limits = limits
        self._done = Event()
        self.oversold: set[str] = set()
        self.looks = 0

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Looks until the block ends, and once more."""
        thread = Thread(target=self._look_on, name="checker")
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _look_on(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            try:
                self._look()
            except sqlite3.OperationalError:  # the server is just being killed, or comes back
                continue
        self._look()

    def _look(self) -> None:
        runs = self._witness.runs()
        self.oversold |= oversold(runs, dict(self._limits))
        self.looks += 1


def paid_twice(log: Iterable[Mapping[str, Any]]) -> int:
    """Pictures painted more than once, by the stand-in's log. A content key holds the user, so it names both."""
    painted: Counter[str] = Counter()
    for entry in log:
        painted[(entry["extra_data"] or {}).get("content_key", entry["prompt_id"])] += entry["images"]
    return sum(images - 1 for images in painted.values() if images > 1)


def metric_errors(exposition: str, runs: Iterable[Sighting]) -> dict[str, float]:
    """By how much each counter is wrong; empty when all are right. Every run in the database was accepted."""
    states = Counter(run.state for run in runs)
    truth = {name: sum(states[state] for state in ended) for name, ended in ENDS.items()}
    truth["jobs_enqueued_total"] = states.total()
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            counted[sample.name] += int(sample.value)
    return {name: counted[name] - right for name, right in truth.items() if counted[name] != right}


def lost(accepted: Iterable[str], runs: Iterable[Sighting]) -> set[str]:
    """Accepted jobs that have not ended, that Prefect does not know, or that failed, for which no fault is a reason.

    A job may crash for good: when its processes were killed more often than it is begun again.
    """
    kept = {run.id for run in runs if run.ended is not None and run.state != "FAILED"}
    return set(accepted) - kept
