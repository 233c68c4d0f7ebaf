"""A flow's process shows that it lives.

Prefect hears of a dead process only from the worker that started it. When both are gone, for instance with their
host, the run stays RUNNING for ever. So each flow raises a counter in Redis, and the keeper watches whether it rises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names

BEAT_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 1.0
KEY_SECONDS: Final = 24 * 3600

log = logging.getLogger(__name__)


@asynccontextmanager
async def beating(redis: Redis, flow_run_id: UUID, *, every: float = BEAT_SECONDS) -> AsyncIterator[None]:
    """Beats every `every` seconds until the block ends, and sooner after a beat that was lost. Never fails the flow.

    It is a task of the flow's own event loop on purpose: a flow that hangs there must fall silent.
    """
    heard = await _beat(redis, flow_run_id)
    task = asyncio.create_task(_beat_on(redis, flow_run_id, every, heard=heard))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _beat_on(redis: Redis, flow_run_id: UUID, every: float, *, heard: bool) -> None:
    while True:
        await asyncio.sleep(every if heard else AGAIN_SECONDS)
        heard = await _beat(redis, flow_run_id)


async def _beat(redis: Redis, flow_run_id: UUID) -> bool:
    """Whether Redis has heard it."""
    key = names.beat_key(flow_run_id)
    try:
        async with asyncio.timeout(BEAT_SECONDS), redis.pipeline() as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, KEY_SECONDS)
            await pipeline.execute()
    except (RedisError, TimeoutError) as error:
        log.debug("A beat was lost (%s).", type(error).__name__)
        return False
    return True
