"""Lets a job in when one of its user's slots is free."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.clients.prefect.leases import Lease, Leases, LimitFull
from tabario.errors import RetryLater, SlotsFull
from tabario.settings import SlotSettings
from tabario.slots.claims import Claimant, Claims
from tabario.slots.clock import Clock, utc_now
from tabario.slots.gate import Gate
from tabario.slots.release import Releaser
from tabario.slots.turns import Turns
from tabario.tiers import Tier

MIN_RETRY_SECONDS: Final = 5


class Admission:
    """Sells the slots of each user, never more than the tier has. `redis` decodes its answers."""

    def __init__(self, leases: Leases, redis: Redis, settings: SlotSettings, *, clock: Clock = utc_now) -> None:
        self._leases = leases
        self._settings = settings
        self._gate = Gate(redis, seconds=settings.gate)
        claims = Claims(redis, clock=clock)
        self._claims = claims
        self._claimant = Claimant(claims, leases)
        self._releaser = Releaser(redis, leases, claims)
        self._turns: Turns[Lease] = Turns()

    async def admit(self, user_id: str, tier: Tier, *, resize: bool = True) -> Lease:
        """Takes a slot; it ends by itself after `claim_lease` seconds unless a run shows up that holds it.

        `resize` lets the limit follow the tier; say False when the tier is only a guess. Raises SlotsFull, and
        RetryLater when no keeper works or Prefect or Redis does not answer.
        """
        limit, size = names.slot_limit(user_id), self._settings.slots(tier)
        return await self._turns.take((limit, size, resize), partial(self._admit, limit, size, resize=resize))

    async def _admit(self, limit: str, size: int, *, resize: bool) -> Lease:
        with _redis_needed():
            await self._gate.require_open()
            try:
                return await self._claim(limit, size, resize=resize)
            except LimitFull as full:
                found = await self._leases.read(limit)
                present = found.limit if found else size
                if resize and present < size:
                    await self._leases.resize(limit, size)
                    return await self._claim_resized(limit, size)
                raise _slots_full(present, full) from None

    async def _claim_resized(self, limit: str, size: int) -> Lease:
        try:
            return await self._claim(limit, size, resize=False)
        except LimitFull as full:
            raise _slots_full(size, full) from None

    async def _claim(self, limit: str, size: int, *, resize: bool) -> Lease:
        grant = await self._claimant.claim(limit, size=size, seconds=self._settings.claim_lease)
        if not resize or grant.size == size:
            return grant.lease
        await self._leases.resize(limit, size)
        found = await self._leases.read(limit)
        if found and found.active_slots > size:  # a downgrade: this slot is one that the tier no longer has
            await self._releaser.release(grant.lease)
            raise LimitFull(MIN_RETRY_SECONDS)
        return grant.lease

    async def keep(self, lease: Lease) -> bool:
        """Lets a claim whose run may still be made last as long as a new one; says False when it is gone."""
        seconds = self._settings.claim_lease
        with _redis_needed():  # no run shows yet that the slot is taken
            await self._claims.enter(lease.limit, str(lease.id), seconds=seconds)
        return await self._leases.renew(lease.id, seconds=seconds)

    async def give_back(self, lease: Lease) -> None:
        """Frees a slot whose run was certainly not made. After OutcomeUnknown leave it: the run may exist."""
        with _redis_needed():
            await self._releaser.release(lease)


def _slots_full(limit: int, full: LimitFull) -> SlotsFull:
    return SlotsFull(limit=limit, retry_after=max(MIN_RETRY_SECONDS, math.ceil(full.retry_after)))


@contextmanager
def _redis_needed() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise RetryLater("The slots cannot be checked just now; try again in a few seconds.") from error
