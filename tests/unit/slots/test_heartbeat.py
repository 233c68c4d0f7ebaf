"""A flow is not held up by its own heartbeat."""

from __future__ import annotations

import socket
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.slots import heartbeat
from tests.support.faulty_redis import faulty_redis_running
from tests.support.waiting import eventually


async def test_a_redis_that_does_not_answer_costs_a_flow_one_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with Redis(port=silent.getsockname()[1]) as redis:
            with anyio.fail_after(10):
                async with heartbeat.beating(redis, uuid4(), every=60):
                    pass


async def test_a_lost_beat_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "AGAIN_SECONDS", 0.01)
    run = uuid4()

    async def is_heard() -> bool:
        return bool(await redis.exists(names.beat_key(run)))

    with faulty_redis_running(tmp_path) as server:
        server.kill()
        async with Redis.from_url(server.url, retry=None) as redis, heartbeat.beating(redis, run, every=3600):
            server.start()
            await eventually(is_heard, within=10, what="the flow beats")
