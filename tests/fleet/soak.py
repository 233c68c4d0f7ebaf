"""`make soak`: many users for a long time, and whether everything adds up and nothing grows."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import httpx
import psutil
from rich.console import Console

from tabario.tiers import Tier
from tests.chaos.witness import TERMINAL
from tests.fleet.callers import Callers, calling, new_users
from tests.fleet.costs import costs_of_a_job, kept_in_redis, rates, usage
from tests.fleet.database import Database
from tests.fleet.installation import doors_of, fleet
from tests.support.arguments import at_least_one, positive
from tests.support.composition import Composition
from tests.support.engine import FORK_SERVER, command_of
from tests.support.issuer import issuer_running
from tests.support.measured import dated, write

BUILD: Final = Path("build")
USERS: Final = 500
STOOD_IN: Final = {"comfyui", "postgres"}  # not ours to watch; PostgreSQL's processes share their memory
IDLE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 5.0
START_SECONDS: Final = 2.0  # between two starts of a caller
STATUS_A_START: Final = 3
CALLERS: Final = 8
TRIES: Final = 10
TRY_SECONDS: Final = 1.0
ASK_AGAIN: Final = {"in_progress", "unavailable"}
JOBS_A_WORKER: Final = 1
IMAGE_SECONDS: Final = "0.05"
LIMITS: Final = {Tier.STANDARD: 1, Tier.PREMIUM: 3}


@dataclass
class Submissions:
    """How many were made, and what became of them. `accepted` has flow run ids."""

    made: int = 0
    accepted: set[str] = field(default_factory=set)
    refused: int = 0
    unanswered: int = 0


@dataclass
class Soak:
    """What one run showed: seconds (p50 and p99 where there are two), MiB (in each fifth of the time), counts;
    tables in kB.

    `submissions` were `accepted`, `refused`, or never answered (`unanswered`). Of accepted jobs the database must know
    every one: `missing` are those that it does not, `unknown` runs are those that nobody was told of. `idle` is what
    was used each second before anybody came, `costs` what each job added that was completed in the second half.
    `kept_in_redis` is in kB for each accepted job.
    """

    seconds: float
    users: int
    workers: int
    answers: dict[str, int] = field(default_factory=dict)
    submissions: int = 0
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    completed: int = 0
    running: int = 0
    waiting: int = 0
    other_ends: int = 0
    missing: int = 0
    unknown: int = 0
    oversold: int = 0
    machine_busy: float = 0.0
    jobs_a_minute: float = 0.0
    latency: dict[str, list[float]] = field(default_factory=dict)
    queue_wait: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)
    database_connections: int = 0
    largest_tables: dict[str, float] = field(default_factory=dict)
    kept_in_redis: float = 0.0
    idle: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether every submission and job is somewhere, no job failed, and no user ran more than the tier allows."""
        return (
            self.submissions == self.accepted + self.refused + self.unanswered
            and self.accepted + self.unknown == self.completed + self.running + self.waiting
            and self.unknown <= self.unanswered
            and not self.missing
            and not self.oversold
        )

    def settle(self, submissions: Submissions, states: Mapping[str, str]) -> None:
        """Compares what users were told with the states that the database knows, by flow run id."""
        counts = Counter(states.values())
        self.submissions, self.accepted = submissions.made, len(submissions.accepted)
        self.refused, self.unanswered = submissions.refused, submissions.unanswered
        self.missing = len(submissions.accepted - states.keys())
        self.unknown = len(states.keys() - submissions.accepted)
        self.completed, self.waiting = counts["COMPLETED"], counts["SCHEDULED"]
        self.other_ends = sum(counts[state] for state in TERMINAL) - self.completed
        self.running = counts.total() - self.completed - self.waiting - self.other_ends

    def show(self, console: Console) -> None:
        """Prints the figures."""
        for name, value in asdict(self).items():
            console.print(f"{name.replace('_', ' ')}: {value}", soft_wrap=True)


async def soak(seconds: float, users: int, workers: int, console: Console) -> Soak:
    """Lets `users` users of both tiers submit for so many seconds."""
    found = Soak(seconds, users, workers)
    async with issuer_running() as issuer:
        variables = {"POOL_LIMIT": str(JOBS_A_WORKER * workers)}
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
    database, submissions = Database(composition), Submissions()
    callers.tiers = dict(zip(new_users(users), cycle(Tier), strict=False))
    memory: dict[str, list[float]] = defaultdict(list)
    oversold: set[str] = set()
    before = await usage(composition, database)
    await asyncio.sleep(IDLE_SECONDS)
    middle = await usage(composition, database)
    found.idle = rates(before, middle)
    half, is_early = time.monotonic() + found.seconds / 2, True
    until = half + found.seconds / 2
    psutil.cpu_percent()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(_call(callers, submissions, until))
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            _note_memory(composition, memory)
            oversold |= _oversold(await database.live(), callers.tiers)
            if is_early and time.monotonic() > half:
                middle, is_early = await usage(composition, database), False
    found.machine_busy = round(psutil.cpu_percent() / 100, 3)
    found.costs = costs_of_a_job(middle, await usage(composition, database), found.idle)
    found.database_connections = await database.connections()
    found.largest_tables = await database.largest_tables()
    found.settle(submissions, await database.states())
    found.answers = dict(sorted(callers.seen.items()))
    found.kept_in_redis = round(await kept_in_redis(composition) / max(1, found.accepted), 2)
    found.oversold = len(oversold)
    found.jobs_a_minute = round(60 * found.completed / found.seconds, 2)
    found.latency = {route: _p50_p99(times) for route, times in callers.seconds.items()}
    found.queue_wait = {queue: _p50_p99(times) for queue, times in (await database.waits()).items()}
    found.memory = {service: fifths(sizes) for service, sizes in sorted(memory.items())}


async def _call(callers: Callers, submissions: Submissions, until: float) -> None:
    """One source of requests: a start by some user, and looks at jobs that were started."""
    chance = random.Random()  # noqa: S311 - not for secrets
    started: list[tuple[str, str]] = []
    users = list(callers.tiers)
    while time.monotonic() < until:
        user, run = chance.choice(users), f"job-{time.monotonic_ns()}"
        submissions.made += 1
        reply = await _start(callers, user, run)
        if reply is None:
            submissions.unanswered += 1
        elif reply.is_success:
            submissions.accepted.add(reply.json()["flow_run_id"])
            started.append((user, run))
        else:
            submissions.refused += 1
        for user, run in chance.sample(started, min(len(started), STATUS_A_START)):
            await callers.state(user, run)
        await asyncio.sleep(START_SECONDS)


async def _start(callers: Callers, user: str, run: str) -> httpx.Response | None:
    """Asks again while there is no answer or one that asks for it, as an app does."""
    for _ in range(TRIES):
        reply = await callers.start(user, run)
        if reply is not None and (reply.is_success or reply.json()["code"] not in ASK_AGAIN):
            return reply
        await asyncio.sleep(TRY_SECONDS)
    return None


def _oversold(live: Mapping[str, int], tiers: Mapping[str, Tier]) -> set[str]:
    return {user for user, runs in live.items() if runs > LIMITS[tiers[user]]}


def _note_memory(composition: Composition, memory: Mapping[str, list[float]]) -> None:
    for service in composition.processes.keys() - STOOD_IN:
        [first, *others] = composition.tree(service)
        memory[service].append(first.memory_info().rss / 2**20)
        for process in others:
            if FORK_SERVER in command_of(process):
                memory[f"{service}'s fork server"].append(process.memory_info().rss / 2**20)


def fifths(sizes: Sequence[float]) -> list[float]:
    """The medians of each fifth of the time: in the first, things are used for the first time."""
    count = len(sizes)
    parts = [sizes[number * count // 5 : (number + 1) * count // 5] or sizes for number in range(5)]
    return [round(median(part), 1) for part in parts]


def _p50_p99(times: Sequence[float]) -> list[float]:
    if len(times) < 2:
        return [round(one, 3) for one in times] * 2
    cuts = quantiles(times, n=100)
    return [round(cuts[49], 3), round(cuts[98], 3)]


def main() -> None:
    """Exit code 1 when the jobs do not add up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.soak", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=120, help="how long users submit")
    parser.add_argument("--users", type=at_least_one, default=USERS, help="with 24 few jobs wait")
    parser.add_argument("--workers", type=at_least_one, default=4)
    options = parser.parse_args()
    console = Console(highlight=False)
    found = asyncio.run(soak(options.seconds, options.users, options.workers, console))
    found.show(console)
    output = BUILD / ("soak.json" if options.users == USERS else f"soak-{options.users}.json")
    write(output, dated(asdict(found)))
    sys.exit(not found.adds_up)


if __name__ == "__main__":
    main()
