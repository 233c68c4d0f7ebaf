"""What Prefect's PostgreSQL says, read with psql and without our code."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from typing import Final

from tests.chaos.witness import LIMIT_PREFIX, TERMINAL, USER_LENGTH
from tests.support.composition import Composition
from tests.support.postgresql import find_postgresql

RUNS: Final = "SELECT id, state_type, name FROM flow_run WHERE name LIKE 'tabario-user-%'"
SLOTS: Final = "SELECT active_slots, name FROM concurrency_limit_v2 WHERE name LIKE 'tabario-user-%'"
WAITS: Final = """
    SELECT work_queue_name, extract(epoch FROM start_time - created) FROM flow_run
    WHERE name LIKE 'tabario-user-%' AND start_time IS NOT NULL
"""
SIZE: Final = "SELECT pg_database_size(current_database())"
ROWS: Final = "SELECT sum(n_live_tup) FROM pg_stat_user_tables"
OF_THIS_DATABASE: Final = "FROM pg_stat_database WHERE datname = current_database()"
TRANSACTIONS: Final = f"SELECT xact_commit + xact_rollback {OF_THIS_DATABASE}"
TABLES: Final = """
    SELECT relname, pg_total_relation_size(relid) / 1000.0 FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 5
"""
CONNECTIONS: Final = f"SELECT numbackends {OF_THIS_DATABASE}"


@dataclass(frozen=True)
class Database:
    """Answers while PostgreSQL runs."""

    composition: Composition

    async def states(self) -> dict[str, str]:
        """The state of every run, by its id."""
        return {run_id: state for run_id, state, _ in await self._read(RUNS)}

    async def live(self) -> Counter[str]:
        """How many runs of each user have not ended."""
        return Counter(_user(name) for _, state, name in await self._read(RUNS) if state not in TERMINAL)

    async def taken(self) -> dict[str, int]:
        """The slots of each user that are taken, of those who have any taken."""
        return {_user(name): int(slots) for slots, name in await self._read(SLOTS) if int(slots)}

    async def waits(self) -> dict[str, list[float]]:
        """Seconds from a run's creation to its start, by work queue."""
        found: dict[str, list[float]] = {}
        for queue, seconds in await self._read(WAITS):
            found.setdefault(queue, []).append(float(seconds))
        return found

    async def size(self) -> int:
        """Bytes."""
        return await self._number(SIZE)

    async def rows(self) -> int:
        """Of all tables, counted now as far as ANALYZE counts: exactly, up to some hundred MB."""
        await self._read("ANALYZE")
        return await self._number(ROWS)

    async def transactions(self) -> int:
        """How many there have been."""
        return await self._number(TRANSACTIONS)

    async def connections(self) -> int:
        """How many clients are connected, this one included."""
        return await self._number(CONNECTIONS)

    async def largest_tables(self) -> dict[str, float]:
        """kB of the five largest tables, with their indexes."""
        return {name: float(kilobytes) for name, kilobytes in await self._read(TABLES)}

    async def _number(self, query: str) -> int:
        [[number]] = await self._read(query)
        return int(number)

    async def _read(self, query: str) -> list[list[str]]:
        programs = find_postgresql()
        assert programs is not None
        password = self.composition.secret("postgres_password", "postgres").read_text().strip()
        process = await asyncio.create_subprocess_exec(
            programs / "psql",
            *("-h", self.composition.address("postgres"), "-U", "prefect", "-d", "prefect", "-AtF", "\t", "-c", query),
            env={**os.environ, "PGPASSWORD": password},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return [line.split("\t") for line in output.decode().splitlines()]


def _user(name: str) -> str:
    return name.removeprefix(LIMIT_PREFIX)[:USER_LENGTH]
