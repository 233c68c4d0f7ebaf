"""Redis: whether it answers us and nobody else, and keeps what it is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from tabario import names
from tabario.doctor.clocks import judge_clock
from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.settings import RedisSettings

SECONDS: Final = 5.0
OLDEST: Final = (6, 2)


async def check_redis(settings: RedisSettings) -> list[Finding]:
    """Reachability, password, persistence, eviction, clock and the keeper's sign of life."""
    url = settings.url.get_secret_value()
    try:
        async with open_redis(url) as redis:
            info: Mapping[str, Any] = await redis.info()
            seconds, microseconds = await redis.time()
            skew = seconds + microseconds / 1e6 - time.time()
            kept = bool(await redis.exists(names.KEEPER_FRESH_KEY))
    except AuthenticationError:
        return [fail("redis", "Redis refuses our password.", "Set TABARIO_REDIS_PASSWORD to the one that Redis has.")]
    except RedisError:
        return [fail("redis", "Redis does not answer.", "Start Redis, or set TABARIO_REDIS_URL to where it is.")]
    return [
        _version(info),
        await _password(url),
        _persistence(info),
        _eviction(info),
        judge_clock("redis", skew),
        _keeper(kept=kept),
    ]


def open_redis(url: str) -> Redis:
    """A client that gives up soon and does not try again."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=SECONDS,
        socket_connect_timeout=SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _version(info: Mapping[str, Any]) -> Finding:
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return fail("redis", f"Redis is of version {version}.", "Run Redis 7, or 6.2 at least.")
    return ok("redis", f"Redis {version} answers.")


async def _password(url: str) -> Finding:
    parts = urlsplit(url)
    anonymous = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        async with open_redis(anonymous) as redis:
            await redis.ping()
    except RedisError:
        return ok("redis-password", "Without the password Redis refuses to serve.")
    return fail(
        "redis-password",
        "Redis serves whoever can reach it.",
        "Set requirepass in Redis, and TABARIO_REDIS_PASSWORD to the same.",
    )


def _persistence(info: Mapping[str, Any]) -> Finding:
    if not info.get("aof_enabled"):
        return fail(
            "redis-persistence",
            "Redis forgets slots, webhooks and counts when it restarts.",
            "Start Redis with --appendonly yes --appendfsync everysec.",
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        return fail("redis-persistence", "Redis cannot write its append-only file.", "Free space on its disk.")
    return ok("redis-persistence", "Redis keeps an append-only file.")


def _eviction(info: Mapping[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return fail(
            "redis-eviction",
            f"Redis drops keys when its memory is full ({policy}).",
            "Start Redis with --maxmemory-policy noeviction.",
        )
    return ok("redis-eviction", "Redis never drops keys.")


def _keeper(*, kept: bool) -> Finding:
    if kept:
        return ok("slot-keeper", "A front door keeps the slots.")
    return warn(
        "slot-keeper",
        "No front door has looked after the slots lately, so no job is let in.",
        "Start a front door; if one runs, its log says what keeps it.",
    )
