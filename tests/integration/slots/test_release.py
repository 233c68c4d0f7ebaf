"""A slot is freed once, and a release that was certainly not made is made later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect.http import PrefectHttp
from tabario.clients.prefect.leases import Leases
from tabario.errors import RetryLater
from tabario.slots.admission import Admission
from tabario.slots.claims import Claims
from tabario.slots.clock import utc_now
from tabario.slots.release import Releaser
from tabario.tiers import Tier
from tests.support.orchestrator import Orchestrator, new_user
from tests.support.servers import RedisServer

RENEWAL, RELEASE = "/renew", "/decrement-with-lease"


class OneFault(httpx.AsyncHTTPTransport):
    """Does something else in place of, or before, requests to paths that end so."""

    def __init__(self, path: str, fault: Callable[[], Awaitable[httpx.Response | None]]) -> None:
        super().__init__()
        self._path, self._fault = path, fault

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._fault() if request.url.path.endswith(self._path) else None
        return answer or await super().handle_async_request(request)


@asynccontextmanager
async def releaser(
    orchestrator: Orchestrator, redis: Redis, path: str, fault: Callable[[], Awaitable[httpx.Response | None]]
) -> AsyncIterator[Releaser]:
    """One whose requests to a path meet a fault."""
    base_url = orchestrator.http.base_url
    async with httpx.AsyncClient(base_url=base_url, timeout=30, transport=OneFault(path, fault)) as http:
        yield Releaser(redis, Leases(PrefectHttp(idle=http, fresh=http, one_writer=True)), Claims(redis, clock=utc_now))


@pytest.mark.parametrize("path", [RENEWAL, RELEASE])
async def test_a_release_that_prefect_was_too_busy_for_is_made_by_the_next(
    admission: Admission, orchestrator: Orchestrator, redis: Redis, path: str
) -> None:
    async def busy() -> httpx.Response:
        return httpx.Response(httpx.codes.SERVICE_UNAVAILABLE)

    user_id = new_user()
    lease = await admission.admit(user_id, Tier.STANDARD)
    async with releaser(orchestrator, redis, path, busy) as unlucky:
        with pytest.raises(RetryLater):
            await unlucky.release(lease)
    assert await orchestrator.active_slots(user_id) == 1
    await admission.give_back(lease)
    assert await orchestrator.active_slots(user_id) == 0


async def test_a_release_without_a_reply_counts_as_made_and_its_lease_is_over_in_a_minute(
    admission: Admission, orchestrator: Orchestrator, redis: Redis, redis_server: RedisServer
) -> None:
    async def lost() -> httpx.Response:
        raise httpx.ReadTimeout("lost")

    lease = await admission.admit(new_user(), Tier.STANDARD)
    async with releaser(orchestrator, redis, RELEASE, lost) as deaf:
        assert await deaf.release(lease)
    async with Redis.from_url(redis_server.url) as prefects_own:
        end = await prefects_own.zscore("prefect:concurrency:expirations", str(lease.id))
    assert float(end or 0) == pytest.approx(utc_now().timestamp() + 60, abs=20)
    assert await Claims(redis, clock=utc_now).all_standing() == {lease.limit: {str(lease.id)}}
    await admission.give_back(lease)
    assert await orchestrator.active_slots(lease.limit.removeprefix(names.SLOT_LIMIT_PREFIX)) == 1


async def test_one_that_was_too_slow_leaves_the_release_to_the_one_elected_after_it(
    admission: Admission, orchestrator: Orchestrator, redis: Redis
) -> None:
    user_id = new_user()
    lease = await admission.admit(user_id, Tier.STANDARD)

    async def another_is_elected() -> None:
        assert 0 < await redis.ttl(names.release_key(lease.id)) <= 30  # one who dies before it sends is replaced
        await redis.set(names.release_key(lease.id), "another")

    async with releaser(orchestrator, redis, RENEWAL, another_is_elected) as slow:
        assert not await slow.release(lease)
    assert await orchestrator.active_slots(user_id) == 1
