"""Compares each limit's count with the leases of its runs, and repairs it.

Prefect keeps counts in its database and leases in Redis, so a crash between the two, or a Redis that forgot, leaves a
slot taken by nobody or a run without a lease.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import anyio

from tabario import names
from tabario.clients.prefect.leases import Limit, LimitFull
from tabario.clients.prefect.models import Run
from tabario.clients.prefect.runs import PrefectApi
from tabario.errors import Conflict
from tabario.settings import SlotSettings
from tabario.slots.claims import Claimant, Claims
from tabario.slots.clock import Clock
from tabario.slots.leader import Leader

FULL_AUDIT: Final = timedelta(seconds=30)

Held = Mapping[str, frozenset[UUID]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mended:
    """What a repair did, in slots and runs."""

    freed: int = 0
    counted: int = 0
    reclaimed: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class _Reckoning:
    """How many slots of a limit are taken at least and at most, beside what Prefect counts."""

    limit: Limit
    low: int
    high: int
    live: int
    lost: tuple[Run, ...]

    @property
    def excess(self) -> int:
        return max(0, self.limit.active_slots - self.high)

    @property
    def deficit(self) -> int:
        return max(0, self.low - self.limit.active_slots)

    @property
    def is_sound(self) -> bool:
        return self.limit.active and not (self.excess or self.deficit or self.lost)


class Audit:
    """Finds limits whose count is wrong, and mends them. Only the leading keeper does."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        prefect: PrefectApi,
        claims: Claims,
        claimant: Claimant,
        leader: Leader,
        settings: SlotSettings,
        *,
        bookkeeping: anyio.Lock,
        clock: Clock,
    ) -> None:
        self._prefect = prefect
        self._leases = prefect.leases
        self._claims = claims
        self._claimant = claimant
        self._leader = leader
        self._settings = settings
        self._bookkeeping = bookkeeping
        self._clock = clock
        self._audited: datetime | None = None

    async def suspects(self, held: Held) -> set[str]:
        """Limits to look at more closely: those of doubtful claims, and at times all whose count looks wrong.

        A closer look costs many calls, so that a slot claimed since the pass began must not cause one.
        """
        doubtful = await self._claims.overdue()
        now = self._clock()
        if self._audited is not None and now - self._audited < FULL_AUDIT:
            return doubtful
        limits = await self._leases.read_all(names.SLOT_LIMIT_PREFIX)
        standing = await self._claims.all_standing()  # after the counts, so that it has whatever they count
        self._audited = now
        return doubtful | {
            limit.name for limit in limits if not _looks_right(limit, held.get(limit.name), standing.get(limit.name))
        }

    async def mend(self, limit: str, unreleased: frozenset[UUID]) -> Mended:
        """Repairs one limit if it needs it.

        `unreleased` are leases of runs that had not been settled a moment ago: a run that has ended since is not seen
        as live any more, and whoever settles it will free its slot. One too many here only puts a repair off.
        """
        async with self._bookkeeping:
            reckoning = await self._reckon(limit, unreleased)
            if reckoning is None or reckoning.is_sound:
                return Mended()
            async with self._claims.closed(limit):
                reckoning = await self._reckon(limit, unreleased)
                return Mended() if reckoning is None else await self._repair(reckoning)

    async def _reckon(self, name: str, unreleased: frozenset[UUID]) -> _Reckoning | None:
        user_id = name.removeprefix(names.SLOT_LIMIT_PREFIX)
        held: dict[UUID, Run] = {}
        lost: list[Run] = []
        for run in await self._prefect.live_runs(user_id):
            if await self._leases.renew(run.lease_id, seconds=self._settings.run_lease):
                held[run.lease_id] = run
            else:
                lost.append(run)
        await self._claims.strike(name, *(str(run.lease_id) for run in lost))
        # Read on both sides of the count, so that nothing counted can be missing here.
        standing = await self._claims.standing(name)
        limit = await self._leases.read(name)
        if limit is None:
            return None
        standing |= await self._claims.standing(name)
        after = {run.flow_run_id for run in await self._prefect.live_runs(user_id)}
        gone = {run.lease_id for run in lost}
        return _Reckoning(
            limit=limit,
            low=sum(run.flow_run_id in after for run in held.values()),
            high=len({str(lease_id) for lease_id in (held.keys() | unreleased) - gone} | standing),
            live=len(after),
            lost=tuple(run for run in lost if run.flow_run_id in after),
        )

    async def _repair(self, reckoning: _Reckoning) -> Mended:
        name = reckoning.limit.name
        await self._leader.confirm()
        if not reckoning.limit.active:
            await self._leases.activate(name)
        freed = counted = 0
        if reckoning.excess:
            await self._leases.lower_count(name, reckoning.excess)
            freed = reckoning.excess
        elif reckoning.deficit and await self._leases.raise_count(name, reckoning.deficit):
            counted = reckoning.deficit
        fates = [await self._reclaim(run, reckoning) for run in reckoning.lost]
        mended = Mended(freed, counted, reclaimed=fates.count("reclaimed"), cancelled=fates.count("cancelled"))
        log.warning("The count of %s was wrong: %s.", names.user_hash(name), mended)
        return mended

    async def _reclaim(self, run: Run, reckoning: _Reckoning) -> str:
        """Takes a new lease for a run that lost its own. Our lost books are no reason to end a run that lives."""
        size, seconds = reckoning.limit.limit, self._settings.run_lease
        try:
            grant = await self._claimant.claim_again(run.limit, size=size, seconds=seconds)
        except LimitFull:
            if reckoning.live <= size:
                return "left"
            return await self._cancel(run)
        await self._prefect.hand_lease(run, grant.lease.id)
        return "reclaimed"

    async def _cancel(self, run: Run) -> str:
        log.error("Cancelling %s: its slot was lost and has been taken by another run.", run.flow_run_id)
        try:
            await self._prefect.cancel_run(run)
        except Conflict:
            return "left"
        return "cancelled"


def _looks_right(limit: Limit, held: frozenset[UUID] | None, standing: set[str] | None) -> bool:
    leases = held or frozenset()
    high = len({*map(str, leases), *(standing or ())})
    return limit.active and len(leases) <= limit.active_slots <= high
