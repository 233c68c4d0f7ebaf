"""Claims under way: slots that may be taken although no live run shows it.

Prefect counts a slot before anybody can see whose it is. Each claim is therefore entered here first, and stays until
its run is seen, or the claim has certainly failed, or its lease must have run out. Whoever repairs a count reads
these entries, so that a slot just claimed is not mistaken for one that leaked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.http import NotDone
from tabario.clients.prefect.leases import Grant, Leases, LimitFull
from tabario.errors import RetryLater
from tabario.slots.clock import Clock

REAPER_SECONDS: Final = 20  # Prefect looks for leases that ran out every 15 s
MENDING_SECONDS: Final = 30
KEY_SECONDS: Final = 24 * 3600


class Claims:
    """The entries in Redis, a sorted set of `limit/entry` by the time until which each may hold a slot."""

    def __init__(self, redis: Redis, *, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    async def enter(self, limit: str, entry: str, *, seconds: int) -> None:
        """Notes that a slot of the limit may be taken from now on, under a lease of so many seconds."""
        async with self._redis.pipeline() as pipeline:
            pipeline.zadd(names.CLAIMS_KEY, {f"{limit}/{entry}": self._now() + seconds + REAPER_SECONDS})
            pipeline.expire(names.CLAIMS_KEY, KEY_SECONDS)
            await pipeline.execute()

    async def strike(self, limit: str, *entries: str) -> None:
        """Takes entries off that hold no slot, or whose slot a live run shows."""
        if entries:
            await self._redis.zrem(names.CLAIMS_KEY, *(f"{limit}/{entry}" for entry in entries))

    async def strike_seen(self, seen: Iterable[tuple[str, str]]) -> None:
        """Takes the entries of many limits off: pairs of limit and entry."""
        if members := [f"{limit}/{entry}" for limit, entry in seen]:
            await self._redis.zrem(names.CLAIMS_KEY, *members)

    async def standing(self, limit: str) -> set[str]:
        """The entries of a limit that may hold a slot now."""
        return (await self.all_standing()).get(limit, set())

    async def all_standing(self) -> dict[str, set[str]]:
        """The entries that may hold a slot now, by limit."""
        found: dict[str, set[str]] = {}
        for limit, entry in await self._between(self._now(), "+inf"):
            found.setdefault(limit, set()).add(entry)
        return found

    async def overdue(self) -> set[str]:
        """Limits with entries that ran out: whether their slots came back is to be checked."""
        return {limit for limit, _ in await self._between("-inf", self._now())}

    async def strike_overdue(self, limits: Iterable[str]) -> None:
        """Takes the entries of these limits off that ran out."""
        checked = frozenset(limits)
        await self.strike_seen(pair for pair in await self._between("-inf", self._now()) if pair[0] in checked)

    async def _between(self, first: float | str, last: float | str) -> list[tuple[str, str]]:
        members: list[str] = await self._redis.zrangebyscore(names.CLAIMS_KEY, first, last)  # type: ignore[assignment]  # the client decodes
        return [_parts(member) for member in members]

    def _now(self) -> float:
        return self._clock().timestamp()

    @asynccontextmanager
    async def closed(self, limit: str) -> AsyncIterator[None]:
        """Keeps new claims off a limit while its count is repaired."""
        await self._redis.set(names.mending_key(limit), 1, ex=MENDING_SECONDS)
        try:
            yield
        finally:
            await self._redis.delete(names.mending_key(limit))

    async def is_closed(self, limit: str) -> bool:
        """Whether the limit's count is being repaired."""
        return bool(await self._redis.exists(names.mending_key(limit)))


class Claimant:
    """Claims slots, entering each claim before it is made."""

    def __init__(self, claims: Claims, leases: Leases) -> None:
        self._claims = claims
        self._leases = leases

    async def claim(self, limit: str, *, size: int, seconds: int) -> Grant:
        """Claims a slot unless the limit is being repaired. Raises LimitFull and RetryLater.

        The entry comes before the look at the mark, and a repair sets the mark before it looks at the entries, so
        that they cannot miss each other.
        """
        token = uuid4().hex
        await self._claims.enter(limit, token, seconds=seconds)
        if await self._claims.is_closed(limit):
            await self._claims.strike(limit, token)
            raise RetryLater("Your slots are being checked; try again in a few seconds.", retry_after=2)
        return await self._claim(limit, token, size=size, seconds=seconds)

    async def claim_again(self, limit: str, *, size: int, seconds: int) -> Grant:
        """Claims a slot for a run that lost its own, while the limit is closed to others. Raises as `claim`."""
        token = uuid4().hex
        await self._claims.enter(limit, token, seconds=seconds)
        return await self._claim(limit, token, size=size, seconds=seconds)

    async def _claim(self, limit: str, token: str, *, size: int, seconds: int) -> Grant:
        try:
            grant = await self._leases.claim(limit, size=size, seconds=seconds)
        except (LimitFull, NotDone):
            await self._claims.strike(limit, token)
            raise
        await self._claims.enter(limit, str(grant.lease.id), seconds=seconds)
        await self._claims.strike(limit, token)
        return grant


def _parts(member: str) -> tuple[str, str]:
    limit, _, entry = member.rpartition("/")
    return limit, entry
