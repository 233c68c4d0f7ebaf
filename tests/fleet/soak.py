"""`make soak`: many users for a long time, and whether everything adds up and nothing grows."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import psutil
from redis.asyncio import Redis
from rich.console import Console

from tabario.tiers import Tier
from tests.fleet.callers import Callers, calling, new_users
from tests.fleet.database import Database
from tests.fleet.installation import doors_of, fleet
from tests.support.composition import Composition
from tests.support.issuer import issuer_running

OUTPUT: Final = Path("build/soak.json")
WATCHED: Final = ("front-door", "front-door-2", "worker", "prefect-server", "prefect-services", "exporter", "redis")
LOOK_SECONDS: Final = 5.0
START_SECONDS: Final = 2.0  # between two starts of a caller
STATUS_A_START: Final = 3
CALLERS: Final = 4
IMAGE_SECONDS: Final = "0.05"
ENDED: Final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Soak:
    """What one run showed. Seconds (p50 and p99), MiB and bytes; `adds_up` says that every accepted job is somewhere.

    What is counted by job is so by accepted job; a worker's CPU is that of its flows too.
    """

    seconds: float
    users: int
    workers: int
    answers: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    completed: int = 0
    unended: int = 0
    other_ends: int = 0
    oversold: int = 0
    jobs_a_minute: float = 0.0
    latency: dict[str, list[float]] = field(default_factory=dict)
    queue_wait: dict[str, list[float]] = field(default_factory=dict)
    memory_growth: dict[str, float] = field(default_factory=dict)
    cpu_seconds_a_job: dict[str, float] = field(default_factory=dict)
    redis_commands_a_job: float = 0.0
    database_bytes_a_job: float = 0.0

    @property
    def adds_up(self) -> bool:
        """Whether every accepted job has completed or goes on, and no user ever ran more than the tier allows."""
        return self.accepted == self.completed + self.unended and not self.oversold

    def show(self, console: Console) -> None:
        """Prints the figures."""
        for name, value in asdict(self).items():
            console.print(f"{name.replace('_', ' ')}: {value}", soft_wrap=True)


async def soak(seconds: float, users: int, workers: int, console: Console) -> Soak:
    """Lets `users` users of both tiers submit for so many seconds."""
    found = Soak(seconds, users, workers)
    async with issuer_running() as issuer:
        variables = {"POOL_LIMIT": str(4 * workers)}
        fleet_of = fleet(issuer, workers=workers, variables=variables, image_seconds=IMAGE_SECONDS)
        composition = await asyncio.to_thread(fleet_of.__enter__)
        try:
            console.print(f"{users} users, {workers} workers, {seconds:.0f} s.")
            async with calling(doors_of(composition), issuer) as callers:
                await _load(found, callers, composition, users=users)
        finally:
            await asyncio.to_thread(fleet_of.__exit__, None, None, None)
    return found


async def _load(found: Soak, callers: Callers, composition: Composition, *, users: int) -> None:
    database = Database(composition)
    callers.tiers = dict(zip(new_users(users), cycle(Tier), strict=False))
    size, commands, cpu = await database.size(), await _redis_commands(composition), _cpu_seconds(composition)
    memory: dict[str, list[float]] = {service: [] for service in WATCHED}
    oversold: set[str] = set()
    until = time.monotonic() + found.seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(_call(callers, until))
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            _note_memory(composition, memory)
            oversold |= _oversold(await database.live(), callers.tiers)
    states = Counter((await database.states()).values())
    found.answers = dict(sorted(callers.seen.items()))
    found.accepted = callers.seen["start 202"]
    found.completed = states["COMPLETED"]
    found.unended = sum(count for state, count in states.items() if state not in ENDED)
    found.other_ends = states.total() - found.completed - found.unended
    found.oversold = len(oversold)
    found.jobs_a_minute = round(60 * found.completed / found.seconds, 2)
    found.latency = {route: _p50_p99(times) for route, times in callers.seconds.items()}
    found.queue_wait = {queue: _p50_p99(times) for queue, times in (await database.waits()).items()}
    found.memory_growth = {service: _growth(sizes) for service, sizes in memory.items()}
    jobs = max(1, found.accepted)
    found.cpu_seconds_a_job = {
        service: round((seconds - cpu[service]) / jobs, 3) for service, seconds in _cpu_seconds(composition).items()
    }
    found.redis_commands_a_job = round((await _redis_commands(composition) - commands) / jobs)
    found.database_bytes_a_job = round((await database.size() - size) / jobs)


async def _call(callers: Callers, until: float) -> None:
    """One source of requests: a start by some user, and looks at jobs that were started."""
    chance = random.Random()  # noqa: S311 - not for secrets
    started: list[tuple[str, str]] = []
    users = list(callers.tiers)
    while time.monotonic() < until:
        user, run = chance.choice(users), f"job-{time.monotonic_ns()}"
        reply = await callers.start(user, run)
        if reply is not None and reply.is_success:
            started.append((user, run))
        for user, run in chance.sample(started, min(len(started), STATUS_A_START)):
            await callers.state(user, run)
        await asyncio.sleep(START_SECONDS)


def _oversold(live: Counter[str], tiers: Any) -> set[str]:  # noqa: ANN401 - a mapping
    allowed = {Tier.STANDARD: 1, Tier.PREMIUM: 3}
    return {user for user, runs in live.items() if runs > allowed[tiers[user]]}


def _note_memory(composition: Composition, memory: dict[str, list[float]]) -> None:
    for service, sizes in memory.items():
        [first, *_] = composition.tree(service)
        sizes.append(psutil.Process(first.pid).memory_info().rss / 2**20)


def _cpu_seconds(composition: Composition) -> dict[str, float]:
    """By service, of its processes and of those that have ended."""
    used = {}
    for service in composition.processes:
        times = [process.cpu_times() for process in composition.tree(service)]
        used[service] = sum(one.user + one.system for one in times) + sum(
            one.children_user + one.children_system for one in times
        )
    return used


async def _redis_commands(composition: Composition) -> int:
    password = composition.secret("redis_password", "redis").read_text().strip()
    async with Redis(host=composition.address("redis"), password=password) as redis:
        return int((await redis.info("stats"))["total_commands_processed"])


def _growth(sizes: Sequence[float]) -> float:
    """MiB between the second fifth of the time, when everything has been used once, and the last."""
    fifth = max(1, len(sizes) // 5)
    return round(median(sizes[-fifth:]) - median(sizes[fifth : 2 * fifth] or sizes), 1)


def _p50_p99(times: Sequence[float]) -> list[float]:
    if len(times) < 2:
        return [round(one, 3) for one in times]
    cuts = quantiles(times, n=100)
    return [round(cuts[49], 3), round(cuts[98], 3)]


def main() -> None:
    """Exit code 1 when the jobs do not add up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long users submit")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    console = Console(highlight=False)
    found = asyncio.run(soak(options.seconds, options.users, options.workers, console))
    found.show(console)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    sys.exit(not found.adds_up)


if __name__ == "__main__":
    main()
