"""How often a user may ask: changes and reads have a rate each, counted in Redis for all replicas together."""

from __future__ import annotations

import logging
import math
import time
from typing import Final

import anyio
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.errors import TooManyRequests
from tabario.settings import ApiSettings

READS: Final = frozenset({"GET", "HEAD"})
ANSWER_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Rates:
    """Counts requests by verified user, within a window that moves with the time."""

    def __init__(self, redis: Redis, settings: ApiSettings) -> None:
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=names.RATE_PREFIX,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]  # limits takes one, but types every option as a scalar
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._changes = parse(settings.rate)
        self._reads = parse(settings.read_rate)

    async def count(self, user_id: str, method: str) -> None:
        """Counts a request. Raises TooManyRequests.

        Without Redis every request passes: a job cannot be started then, and to refuse what can still be served would
        make the outage worse than the flood.
        """
        kind, rate = ("read", self._reads) if method in READS else ("change", self._changes)
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                if not await self._limiter.hit(rate, kind, user_id):
                    raise await self._refusal(rate, kind, user_id)
        except (RedisError, TimeoutError) as error:
            log.warning("Requests are not counted: Redis does not answer (%s).", type(error).__name__)

    async def _refusal(self, rate: RateLimitItem, kind: str, user_id: str) -> TooManyRequests:
        window = await self._limiter.get_window_stats(rate, kind, user_id)
        return TooManyRequests(
            f"You may send {rate.amount} such requests per {rate.get_expiry()} seconds.",
            retry_after=max(1, math.ceil(window.reset_time - time.time())),
        )
