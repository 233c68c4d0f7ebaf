"""Remembers in Redis, for all front doors, what is known of each user's tier."""

from __future__ import annotations

import logging
from typing import Final

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.entitlements.known_tier import KnownTier
from tabario.errors import RetryLater
from tabario.tokens.claims import MAX_LIFETIME

# A change must not be forgotten while a token from before it may still be shown.
KEPT: Final = MAX_LIFETIME

log = logging.getLogger(__name__)


class TierCache:
    """One string a user. `redis` decodes its answers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, user_id: str) -> KnownTier | None:
        """What is known of the user, however old. Raises RetryLater when Redis does not answer."""
        try:
            stored = await self._redis.get(names.tier_key(user_id))
        except RedisError as error:
            raise RetryLater("Your tier cannot be checked just now; try again in a few seconds.") from error
        try:
            return KnownTier.model_validate_json(stored) if stored else None
        except ValidationError:
            return None  # written by another version of this program

    async def write(self, user_id: str, known: KnownTier) -> None:
        """Remembers it. Without Redis it is not remembered, and no harm is done."""
        try:
            await self._redis.set(names.tier_key(user_id), known.model_dump_json(), ex=KEPT)
        except RedisError:
            log.warning("Redis does not take what is known of a user's tier.")
