"""Renews the leases of live runs: each while most of its time is left, and all of them after any doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import anyio

from tabario.clients.prefect.leases import Leases
from tabario.clients.prefect.models import Run
from tabario.settings import SlotSettings
from tabario.slots.clock import Clock

AT_ONCE: Final = 8
NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Renewed:
    """How many leases were renewed, and the runs that have none any more."""

    count: int
    lost: list[Run]


class Renewals:
    """Remembers when it renewed which lease, for a call for every live run would be most of what a pass costs.

    A third of its time after a renewal a lease is renewed again, or earlier if the gate might stay open for longer
    than the lease lasts: `pause` is that time. Each pass also renews its share of the others, or leases that were new
    together would all be due in one pass, and many of them keep the gate shut.
    """

    def __init__(self, leases: Leases, settings: SlotSettings, *, clock: Clock) -> None:
        self._leases = leases
        self._seconds = settings.run_lease
        self._clock = clock
        self.pause = timedelta(seconds=min(settings.run_lease / 3, (settings.run_lease - settings.gate) / 2))
        self._renewed: dict[UUID, datetime] = {}
        self._passed: datetime | None = None

    def forget(self) -> None:
        """Doubts every lease, so that all are renewed next time: Redis may have lost some, or another keeper led."""
        self._renewed.clear()

    async def renew(self, live: Sequence[Run]) -> Renewed:
        """Renews what is due of all live runs. Raises a group of RetryLater, and then doubts every lease."""
        now = self._clock()
        known = {run.lease_id: self._renewed[run.lease_id] for run in live if run.lease_id in self._renewed}
        due = self._due(live, known, now)
        lost: list[Run] = []
        turns = anyio.CapacityLimiter(AT_ONCE)

        async def renew(run: Run) -> None:
            async with turns:
                if await self._leases.renew(run.lease_id, seconds=self._seconds):
                    known[run.lease_id] = now
                else:
                    known.pop(run.lease_id, None)
                    lost.append(run)

        self.forget()
        async with anyio.create_task_group() as group:
            for run in due:
                group.start_soon(renew, run)
        self._renewed = known
        return Renewed(len(due) - len(lost), lost)

    def _due(self, live: Sequence[Run], known: Mapping[UUID, datetime], now: datetime) -> list[Run]:
        """What must be renewed now, or at least as many as the time since the last pass wants; the oldest first."""

        def age(run: Run) -> timedelta:
            since = now - known.get(run.lease_id, NEVER)
            return since if since >= timedelta() else timedelta.max  # somebody set the clock back

        must = sum(age(run) >= self.pause for run in live)
        passed, self._passed = self._passed or now, now
        return sorted(live, key=age, reverse=True)[: max(must, int(len(live) * ((now - passed) / self.pause)))]
