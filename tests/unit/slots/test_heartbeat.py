"""A flow is not held up by its own heartbeat."""

from __future__ import annotations

import socket
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis

from tabario.slots import heartbeat


async def test_a_redis_that_does_not_answer_costs_a_flow_one_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with Redis(port=silent.getsockname()[1]) as redis:
            with anyio.fail_after(10):
                async with heartbeat.beating(redis, uuid4(), every=60):
                    pass
