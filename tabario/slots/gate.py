"""The gate before admission: closed when no keeper has looked after the leases for too long.

A lease that nobody renews runs out although its run goes on, and its slot might be sold twice.
"""

from __future__ import annotations

from datetime import timedelta

from redis.asyncio import Redis

from tabario import names
from tabario.errors import RetryLater


class Gate:
    """Open for `seconds` after the beginning of each good pass of a keeper, in whichever replica it runs."""

    def __init__(self, redis: Redis, *, seconds: float) -> None:
        self._redis = redis
        self._seconds = seconds

    async def open(self, *, since: float) -> None:
        """Opens the gate for a pass that began `since` seconds ago."""
        left = timedelta(seconds=self._seconds - since)
        if left > timedelta(0):
            await self._redis.set(names.KEEPER_FRESH_KEY, 1, px=left)

    async def is_open(self) -> bool:
        """Whether a pass succeeded lately."""
        return bool(await self._redis.exists(names.KEEPER_FRESH_KEY))

    async def require_open(self) -> None:
        """Raises RetryLater when the gate is closed."""
        if not await self.is_open():
            raise RetryLater("Slots are being checked after an outage; try again in a few seconds.", retry_after=10)
