"""Frees a slot exactly once.

Prefect's release is not safe to send twice: two at once free two slots, and a third job starts. So one is elected
in Redis, and sends one request. From the moment it may have been sent, nobody sends another: if it was lost, the
lease runs out within a minute and Prefect's reaper frees the slot.
"""

from __future__ import annotations

import logging
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.http import NotDone, OutcomeUnknown
from tabario.clients.prefect.leases import Lease, Leases
from tabario.slots.claims import Claims

ELECTED_SECONDS: Final = 30  # a releaser that dies before it sends is replaced after this
SENT_SECONDS: Final = 7 * 24 * 3600
LAST_LEASE_SECONDS: Final = 60  # the shortest that Prefect grants

SENT: Final = "sent"
# Marks the release as sent, if the elected one is still the one elected.
SEND: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

log = logging.getLogger(__name__)


class Releaser:
    """Releases leases, each once among all processes."""

    def __init__(self, redis: Redis, leases: Leases, claims: Claims) -> None:
        self._redis = redis
        self._leases = leases
        self._claims = claims

    async def release(self, lease: Lease) -> bool:
        """Frees the lease's slot; says False when another has done or is doing that.

        Raises RetryLater when nothing was sent and the release is to be tried again.
        """
        token, key = uuid4().hex, names.release_key(lease.id)
        if not await self._redis.set(key, token, nx=True, ex=ELECTED_SECONDS):
            return False
        try:
            # Against Prefect's reaper: it must not free the slot between our look and our release.
            held = await self._leases.renew(lease.id, seconds=LAST_LEASE_SECONDS)
        except BaseException:
            await self._redis.delete(key)
            raise
        await self._claims.enter(lease.limit, str(lease.id), seconds=LAST_LEASE_SECONDS)
        if not await self._redis.register_script(SEND)([key], [token, SENT, SENT_SECONDS]):
            return False
        return await self._send(lease, key) if held else await self._gone(lease)

    async def _send(self, lease: Lease, key: str) -> bool:
        try:
            await self._leases.release(lease.id)
        except NotDone:
            await self._redis.delete(key)
            raise
        except OutcomeUnknown:
            log.warning("The reply to the release of %s is lost; if need be its lease runs out.", lease.id)
            return True
        await self._claims.strike(lease.limit, str(lease.id))
        return True

    async def _gone(self, lease: Lease) -> bool:
        await self._claims.strike(lease.limit, str(lease.id))
        return True
