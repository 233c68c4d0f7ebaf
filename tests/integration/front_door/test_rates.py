"""How often a user may ask."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from api import rates
from tabario.settings import ApiSettings
from tests.support.front_door import front_door
from tests.support.tokens import OTHER_USER

JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams"}


async def test_fifty_changes_at_once_give_as_many_as_the_rate(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "ANSWER_SECONDS", 60)  # a busy machine counts too
    async with front_door(redis, tmp_path, rate="10/minute") as door, door.client() as client:
        replies = await asyncio.gather(*(client.post("/orchestrate/cancel/never-was") for _ in range(50)))
    refused = [reply for reply in replies if reply.status_code == 429]
    assert [reply.status_code for reply in replies if reply not in refused] == [404] * 10
    for reply in refused:
        assert (reply.headers["content-type"], reply.json()["code"]) == (
            "application/problem+json",
            "too_many_requests",
        )
        assert 1 <= int(reply.headers["retry-after"]) <= 60


async def test_flood_is_refused_before_its_body_is_read(redis: Redis, tmp_path: Path) -> None:
    async with front_door(redis, tmp_path, rate="1/hour") as door, door.client() as client:
        replies = [await client.post("/orchestrate/start", content=b"{broken") for _ in range(2)]
    assert [reply.status_code for reply in replies] == [415, 429]


async def test_each_user_and_kind_of_request_has_a_rate_of_its_own(redis: Redis, tmp_path: Path) -> None:
    async with (
        front_door(redis, tmp_path, rate="1/hour", read_rate="2/hour") as door,
        door.client() as client,
        door.client(user_id=OTHER_USER) as stranger,
    ):
        assert [(await client.post("/orchestrate/start", json=JOB)).status_code for _ in range(2)] == [202, 429]
        assert [(await client.get("/orchestrate/slots")).status_code for _ in range(3)] == [200, 200, 429]
        assert (await stranger.post("/orchestrate/start", json=JOB)).status_code == 202


async def test_strangers_and_probes_are_not_counted(redis: Redis, tmp_path: Path) -> None:
    async with front_door(redis, tmp_path, rate="1/hour", read_rate="1/hour") as door:
        assert {(await door.anonymous.get("/health")).status_code for _ in range(3)} == {200}
        assert {(await door.anonymous.get("/orchestrate/slots")).status_code for _ in range(3)} == {401}


async def test_counts_are_shared_by_replicas_and_forgotten(redis: Redis, tmp_path: Path) -> None:
    async with (
        front_door(redis, tmp_path / "a", read_rate="1/minute") as one,
        front_door(redis, tmp_path / "b", read_rate="1/minute") as other,
        one.client() as first,
        other.client() as second,
    ):
        assert (await first.get("/orchestrate/slots")).status_code == 200
        assert (await second.get("/orchestrate/slots")).status_code == 429
    keys = await redis.keys("video_orchestrator:rate:*")
    assert keys
    assert all([0 < await redis.ttl(key) <= 60 for key in keys])


async def test_without_redis_requests_pass_uncounted(tmp_path: Path) -> None:
    lost = Redis.from_url("redis://127.0.0.1:1/0", decode_responses=True, retry=None)
    async with front_door(lost, tmp_path, gate_open=False, read_rate="1/hour") as door, door.client() as client:
        assert {(await client.get("/orchestrate/slots")).status_code for _ in range(3)} == {200}


@pytest.mark.parametrize("rate", ["", "0/minute", "ten/minute", "60 per minute", "60/fortnight", "-1/second"])
def test_rate_of_another_form_is_refused(rate: str) -> None:
    with pytest.raises(ValidationError):
        ApiSettings(rate=rate)
