"""Decides which tier a request may count on, and whether that is certain enough to resize a limit."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from redis.asyncio import Redis

from tabario.entitlements.cache import TierCache
from tabario.entitlements.known_tier import KnownTier
from tabario.entitlements.source import TierSource
from tabario.entitlements.supabase import open_supabase
from tabario.errors import ConfigurationError, RetryLater
from tabario.metrics.definitions import TIER_LOOKUPS
from tabario.metrics.recorder import Recorder
from tabario.settings import AuthSettings
from tabario.single_flight import SingleFlight
from tabario.slots.clock import Clock, utc_now
from tabario.tiers import Tier

FRESH: Final = timedelta(seconds=60)
STALE: Final = timedelta(hours=24)

_NOBODY: Final = str(uuid.UUID(int=0))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entitlement:
    """A user's tier. With `certain` False it is the best guess in an outage: a limit must not follow it.

    `changed_at` is the last known change.
    """

    tier: Tier
    certain: bool
    changed_at: datetime | None


class Entitlements:
    """Tells users' tiers. Without a source, what the token says is all there is."""

    def __init__(
        self, source: TierSource | None, cache: TierCache, recorder: Recorder, *, clock: Clock = utc_now
    ) -> None:
        self._source = source
        self._cache = cache
        self._recorder = recorder
        self._clock = clock
        self._lookups: SingleFlight[KnownTier] = SingleFlight()

    async def tier_of(
        self, user_id: str, *, claimed: Tier | None, issued_at: datetime, changed_at: datetime | None = None
    ) -> Entitlement:
        """The tier of a user whose token, issued at `issued_at`, claims `claimed` and says it changed at `changed_at`.

        Raises RetryLater without Redis, and ConfigurationError when the source refuses to answer and nothing is known.
        """
        if claimed is None and self._source is None:
            claimed = Tier.STANDARD  # there is nobody else to ask
        claim = KnownTier(tier=claimed, changed_at=changed_at, as_of=issued_at) if claimed else None
        try:
            known = await self._cache.read(user_id)
        except RetryLater:
            if self._source is None and claim:  # good enough to look at things, and no reason to resize a limit
                return Entitlement(claim.tier, certain=False, changed_at=changed_at)
            raise
        if claim and (known is None or claim.overrules(known)):
            return _certainly(await self._learn(user_id, claim, known))
        if known and self._source is None:
            return _certainly(known)
        if known and known.age(self._clock()) <= FRESH and not (claim and claim.casts_doubt_on(known)):
            return _certainly(known)
        assert self._source is not None  # noqa: S101 - else there was a claim, and one of the two was believed
        return await self._ask(self._source, user_id, known)

    async def probe(self) -> None:
        """Asks the source about nobody. Raises ConfigurationError when it refuses, RetryLater when it is away."""
        if self._source is not None:
            await self._look_up(self._source, _NOBODY)

    async def close(self) -> None:
        """Ends the questions that are still under way."""
        await self._lookups.close()

    async def _learn(self, user_id: str, claim: KnownTier, known: KnownTier | None) -> KnownTier:
        """Remembers what a token says if it is news, so that an older token is not believed later."""
        changes = [told.changed_at for told in (claim, known) if told and told.changed_at]
        news = claim.model_copy(update={"changed_at": max(changes, default=None)})
        if known is None or (news.tier, news.changed_at) != (known.tier, known.changed_at):
            await self._cache.write(user_id, news)
        return news

    async def _ask(self, source: TierSource, user_id: str, known: KnownTier | None) -> Entitlement:
        last = known if known and known.age(self._clock()) <= STALE else None
        try:
            return _certainly(await self._look_up(source, user_id))
        except RetryLater:
            tier = last.tier if last else Tier.STANDARD
        except ConfigurationError:
            # Unlike an outage this stays until somebody mends it: to go on with standard would be a silent downgrade.
            if last is None:
                raise
            tier = last.tier
        return Entitlement(tier, certain=False, changed_at=known.changed_at if known else None)

    async def _look_up(self, source: TierSource, user_id: str) -> KnownTier:
        return await self._lookups.share(user_id, partial(self._question, source, user_id))

    async def _question(self, source: TierSource, user_id: str) -> KnownTier:
        asked_at = self._clock()
        try:
            answer = await source.tier_of(user_id)
        except RetryLater as error:
            log.warning("A user's tier cannot be looked up: %s", error)
            await self._count("unavailable")
            raise
        except ConfigurationError as error:
            log.error("No user's tier can be looked up until this is mended: %s", error)  # noqa: TRY400 - the text says it all
            await self._count("misconfigured")
            raise
        known = KnownTier(tier=answer.tier, changed_at=answer.changed_at, as_of=asked_at)
        await self._cache.write(user_id, known)
        await self._count("answered")
        return known

    async def _count(self, outcome: str) -> None:
        await self._recorder.record(f"tier-lookup:{uuid.uuid4()}", TIER_LOOKUPS.increment(outcome=outcome))


@asynccontextmanager
async def open_entitlements(auth: AuthSettings, redis: Redis, recorder: Recorder) -> AsyncIterator[Entitlements]:
    """The tiers of the Supabase project in the settings, or of the tokens alone. `redis` decodes its answers."""
    async with AsyncExitStack() as stack:
        source: TierSource | None = None
        if auth.supabase_url and auth.supabase_secret_key:
            opening = open_supabase(str(auth.supabase_url), secret_key=auth.supabase_secret_key.get_secret_value())
            source = await stack.enter_async_context(opening)
        entitlements = Entitlements(source, TierCache(redis), recorder)
        stack.push_async_callback(entitlements.close)
        yield entitlements


def _certainly(known: KnownTier) -> Entitlement:
    return Entitlement(known.tier, certain=True, changed_at=known.changed_at)
