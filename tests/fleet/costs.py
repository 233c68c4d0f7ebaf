"""What the parts of an installation have used, and what that comes to for a job."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from tests.fleet.database import Database
from tests.support.composition import Composition


@dataclass(frozen=True)
class Usage:
    """What was used until a moment: CPU in seconds, by service; counts; bytes."""

    completed: int
    cpu_seconds: dict[str, float]
    redis_commands: int
    redis_bytes: int
    database_transactions: int
    database_rows: int
    database_bytes: int


@dataclass(frozen=True)
class Costs:
    """The same for each job that was completed; a worker's CPU, which is that of its flows too, over all workers."""

    cpu_seconds: dict[str, float]
    redis_commands: float
    redis_bytes: float
    database_transactions: float
    database_rows: float
    database_bytes: float


async def usage(composition: Composition, database: Database) -> Usage:
    """Reads processes, Redis and PostgreSQL."""
    password = composition.secret("redis_password", "redis").read_text().strip()
    async with Redis(host=composition.address("redis"), password=password) as redis:
        info = await redis.info("everything")
    return Usage(
        completed=sum(state == "COMPLETED" for state in (await database.states()).values()),
        cpu_seconds={service: _cpu_seconds(composition, service) for service in composition.processes},
        redis_commands=int(info["total_commands_processed"]),
        redis_bytes=int(info["used_memory"]),
        database_transactions=await database.transactions(),
        database_rows=await database.rows(),
        database_bytes=await database.size(),
    )


def costs_of_a_job(before: Usage, after: Usage) -> Costs:
    """What each job cost that was completed in between. Zero jobs count as one."""
    jobs = max(1, after.completed - before.completed)

    def each(until: int, since: int) -> float:
        return round((until - since) / jobs, 1)

    return Costs(
        cpu_seconds={
            service: round((seconds - before.cpu_seconds.get(service, 0)) / jobs, 3)
            for service, seconds in after.cpu_seconds.items()
        },
        redis_commands=each(after.redis_commands, before.redis_commands),
        redis_bytes=each(after.redis_bytes, before.redis_bytes),
        database_transactions=each(after.database_transactions, before.database_transactions),
        database_rows=each(after.database_rows, before.database_rows),
        database_bytes=each(after.database_bytes, before.database_bytes),
    )


def _cpu_seconds(composition: Composition, service: str) -> float:
    """Of a service's processes, and of those of its processes that have ended."""
    times = [process.cpu_times() for process in composition.tree(service)]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)
