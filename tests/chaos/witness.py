"""What Prefect's database says, read beside Prefect and without our code."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LIMIT_PREFIX: Final = "tabario-user-"
USER_LENGTH: Final = 36  # a UUID
TERMINAL: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
ENDED: Final = TERMINAL - {"CRASHED"}  # a crashed run may be resumed
BUSY_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Sighting:
    """A flow run. Times are Prefect's texts in UTC, which sort; `ended` is None while it lives."""

    id: str
    user_id: str
    state: str
    created: str
    ended: str | None
    run_count: int
    lease_id: str


class Witness:
    """Reads `prefect.db`; each question on a connection of its own, which cannot write."""

    def __init__(self, database: Path) -> None:
        self._address = f"file:{database}?mode=ro"

    def runs(self) -> list[Sighting]:
        """Every flow run that makes a film, oldest first. Prefect also plans the store's nightly clean-ups."""
        rows = self._read(
            "SELECT id, name, state_type, created, state_timestamp, run_count, "
            "COALESCE(labels ->> '$.\"tabario.lease\"', idempotency_key) FROM flow_run "
            "ORDER BY created"
        )
        return [_sighting(*row) for row in rows if row[1].startswith(LIMIT_PREFIX)]

    def run(self, flow_run_id: str) -> Sighting | None:
        """One flow run."""
        return next((run for run in self.runs() if run.id == flow_run_id), None)

    def live(self, user_id: str) -> int:
        """How many of the user's runs have not ended."""
        return sum(run.user_id == user_id and run.ended is None for run in self.runs())

    def taken(self) -> dict[str, int]:
        """Taken slots by user."""
        rows = self._read("SELECT name, active_slots FROM concurrency_limit_v2")
        return {name.removeprefix(LIMIT_PREFIX): int(slots) for name, slots in rows if name.startswith(LIMIT_PREFIX)}

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._address, uri=True, timeout=BUSY_SECONDS)) as database:
            return database.execute(query).fetchall()


def _sighting(  # noqa: PLR0913, PLR0917 - the columns of a row
    id_: str, name: str, state: str, created: str, state_since: str, run_count: int, key: str | None
) -> Sighting:
    return Sighting(
        id=id_,
        user_id=name.removeprefix(LIMIT_PREFIX)[:USER_LENGTH],
        state=state,
        created=created,
        ended=state_since if state in TERMINAL else None,
        run_count=run_count,
        lease_id=key or "",
    )


def oversold(runs: Sequence[Sighting], limits: Mapping[str, int]) -> set[str]:
    """Ids of the runs that began while their user's limit was already reached.

    A run lives from its creation to the end of its last state, so a crashed one that was resumed never stopped.
    """
    found: set[str] = set()
    open_runs: dict[str, list[Sighting]] = {}
    for run in sorted(runs, key=lambda run: run.created):
        others = [one for one in open_runs.get(run.user_id, ()) if one.ended is None or one.ended > run.created]
        if len(others) >= limits.get(run.user_id, 0):
            found.add(run.id)
        open_runs[run.user_id] = [*others, run]
    return found
