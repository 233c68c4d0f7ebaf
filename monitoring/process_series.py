"""The series of this process itself: memory, processor time, start, and whatever it counts with prometheus_client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector

from monitoring.families import gauge_family
from tabario.metrics.definitions import BUILD_INFO, START_TIME_SECONDS


class ProcessSeries:
    """Collects from this process or, with a multiprocess directory, from all front doors that share it.

    The library leaves out `process_start_time_seconds` for a group, so there is a start time of our own: the youngest
    member's, which changes whenever one is restarted.
    """

    def __init__(self, multiprocess_directory: Path | None) -> None:
        own = CollectorRegistry()
        start = Gauge(START_TIME_SECONDS.name, START_TIME_SECONDS.help, registry=own, multiprocess_mode="max")
        start.set(time.time())
        self._registries = [own, REGISTRY]
        if multiprocess_directory is not None:
            group = CollectorRegistry()
            MultiProcessCollector(group, path=str(multiprocess_directory))  # type: ignore[no-untyped-call]  # it has no annotations
            self._registries = [group]

    def collect(self) -> Iterator[Family]:
        """All families of the process or its group."""
        (version,) = (label.values[0] for label in BUILD_INFO.labels)
        yield gauge_family(BUILD_INFO, {(version,): 1})
        for registry in self._registries:
            yield from registry.collect()
