"""What a piece of work consumed, its child processes included."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psutil

_SAMPLE_SECONDS: Final = 0.1


@dataclass
class Consumption:
    """CPU and wall-clock seconds, and the largest resident memory of the work's processes together, in MiB."""

    cpu: float = 0.0
    wall: float = 0.0
    memory: float = 0.0


@contextmanager
def consumption(*, own_memory: bool) -> Iterator[Consumption]:
    """Measures the block; the figures are there when it has ended.

    `own_memory` counts this process too, for work that is done in it.
    """
    found = Consumption()
    ended = threading.Event()
    sampler = threading.Thread(target=_sample, args=(found, ended), kwargs={"own_memory": own_memory})
    cpu, wall = _cpu_seconds(), time.perf_counter()
    sampler.start()
    try:
        yield found
    finally:
        ended.set()
        sampler.join()
        found.cpu += _cpu_seconds() - cpu
        found.wall = time.perf_counter() - wall


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _sample(found: Consumption, ended: threading.Event, *, own_memory: bool) -> None:
    this = psutil.Process()
    while not ended.wait(_SAMPLE_SECONDS):
        resident = this.memory_info().rss if own_memory else 0
        for process in this.children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                resident += process.memory_info().rss
        found.memory = max(found.memory, resident / 2**20)
    found.cpu -= time.thread_time()  # looking is no part of the work
