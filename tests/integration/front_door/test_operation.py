"""What load balancers and monitoring see."""

from __future__ import annotations

import httpx
from redis.asyncio import Redis

from tests.support.front_door import FrontDoor
from tests.support.submitted import started


async def test_ready_names_what_is_missing(door: FrontDoor, redis: Redis) -> None:
    assert (await door.anonymous.get("/ready")).status_code == 200
    door.prefect.healthy = False
    await redis.flushdb()  # with it goes the keeper's sign of life
    reply = await door.anonymous.get("/ready")
    assert (reply.status_code, reply.json()["missing"]) == (503, ["slot keeper", "prefect"])
    assert "http" not in reply.json()["detail"]


async def test_health_needs_nothing(door: FrontDoor) -> None:
    door.prefect.healthy = False
    assert (await door.anonymous.get("/health")).json() == {"status": "ok"}


async def test_metrics_show_the_process(door: FrontDoor) -> None:
    assert "process_start_time_seconds" in (await door.anonymous.get("/metrics")).text


async def test_no_key_lives_for_ever_but_the_queue_and_the_totals(
    door: FrontDoor, client: httpx.AsyncClient, redis: Redis
) -> None:
    await started(door, client)
    lasting = {key for key in await redis.keys("*") if await redis.ttl(key) == -1}
    assert lasting == {"video_orchestrator:queue", "video_orchestrator:metrics"}
