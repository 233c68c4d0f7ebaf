"""What an installation uses while nobody asks for anything, and what a job adds to that."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from tests.fleet.database import Database
from tests.support.composition import Composition


@dataclass(frozen=True)
class Usage:
    """What was used until a moment, by name and unit; `at` is in seconds of the monotonic clock."""

    at: float
    completed: int
    amounts: Mapping[str, float]


async def usage(composition: Composition, database: Database) -> Usage:
    """Reads processes, Redis and PostgreSQL. Services that run twice count as one."""
    async with _redis(composition) as redis:
        info = await redis.info("everything")
    amounts: defaultdict[str, float] = defaultdict(float)
    for service in composition.processes:
        amounts[f"CPU of {re.sub(r'-[0-9]+$', '', service)}, s"] += _cpu_seconds(composition, service)
    amounts |= {
        "commands of Redis": int(info["total_commands_processed"]),
        "transactions of PostgreSQL": await database.transactions(),
        "rows of PostgreSQL": await database.rows(),
        "PostgreSQL, kB": await database.size() / 1000,
    }
    completed = sum(state == "COMPLETED" for state in (await database.states()).values())
    return Usage(time.monotonic(), completed, dict(amounts))


async def kept_in_redis(composition: Composition) -> float:
    """What our own keys hold, in kB. Redis' memory as a whole rises and falls with Prefect's messages."""
    async with _redis(composition) as redis:
        return sum([await redis.memory_usage(key) or 0 async for key in redis.scan_iter(count=1000)]) / 1000


def _redis(composition: Composition) -> Redis:
    password = composition.secret("redis_password", "redis").read_text().strip()
    return Redis(host=composition.address("redis"), password=password, db=1)  # ours in docker-compose.yml


def rates(before: Usage, after: Usage) -> dict[str, float]:
    """What was used each second."""
    seconds = after.at - before.at
    return {name: (amount - before.amounts[name]) / seconds for name, amount in after.amounts.items()}


def costs_of_a_job(before: Usage, after: Usage, idle: Mapping[str, float]) -> dict[str, float]:
    """What each job that was completed meanwhile added to what is used when idle. No job counts as one."""
    seconds, jobs = after.at - before.at, max(1, after.completed - before.completed)
    return {name: (rate - idle[name]) * seconds / jobs for name, rate in rates(before, after).items()}


def _cpu_seconds(composition: Composition, service: str) -> float:
    """Of a service's processes, and of those of its processes that have ended."""
    times = [process.cpu_times() for process in composition.tree(service)]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)
