"""A start that is repeated under the same Idempotency-Key, whatever became of the first one."""

from __future__ import annotations

import asyncio
from asyncio import timeout
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from redis.asyncio import Redis

from api.idempotency import Attempts
from tabario import names
from tabario.clients.prefect import NotDone, OutcomeUnknown, RunState
from tabario.tiers import Tier
from tests.support.front_door import FrontDoor, front_door
from tests.support.tokens import OTHER_USER, USER

JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams"}
KEY: Final = "7f1c2b9e-start"


@pytest.fixture
async def door(redis: Redis, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(redis, tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as opened:
        yield opened


async def start(client: httpx.AsyncClient, key: str = KEY, **changes: str) -> httpx.Response:
    return await client.post("/orchestrate/start", json={**JOB, **changes}, headers={"Idempotency-Key": key})


async def test_replay_gives_the_same_reply_and_takes_no_slot(door: FrontDoor, client: httpx.AsyncClient) -> None:
    first, second = await start(client), await start(client)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert len(door.prefect.runs) == 1


async def test_replay_is_answered_when_every_slot_is_taken_and_after_the_run_ended(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    first = await start(client)
    [run] = door.prefect.runs.values()
    door.prefect.move(run, RunState.COMPLETED)
    assert (await start(client)).json() == first.json()


async def test_key_in_quotes_is_the_same_key(client: httpx.AsyncClient) -> None:
    first = await start(client, KEY)
    assert (await start(client, f'"{KEY}"')).json() == first.json()


async def test_key_belongs_to_its_user(door: FrontDoor, client: httpx.AsyncClient) -> None:
    mine = await start(client)
    async with door.client(user_id=OTHER_USER) as stranger:
        theirs = await start(stranger, caption="Another body")
    assert theirs.status_code == 202
    assert theirs.json()["flow_run_id"] != mine.json()["flow_run_id"]


async def test_key_with_another_body_is_refused(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await start(client)
    reply = await start(client, caption="Changed")
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert [error["field"] for error in reply.json()["errors"]] == ["Idempotency-Key"]
    assert len(door.prefect.runs) == 1


async def test_naming_oneself_in_the_body_makes_no_other_request(client: httpx.AsyncClient) -> None:
    first = await start(client)
    assert (await start(client, user_id=USER)).json() == first.json()


async def test_one_of_many_requests_at_once_starts_and_the_others_are_told_to_wait(door: FrontDoor) -> None:
    async with door.client(tier=Tier.PREMIUM) as client:
        replies = await asyncio.gather(*(start(client) for _ in range(10)))
    refused = [reply for reply in replies if reply.status_code != 202]
    assert len(door.prefect.runs) == 1
    for reply in refused:
        assert (reply.status_code, reply.json()["code"]) == (409, "in_progress")
        assert int(reply.headers["retry-after"]) > 0


async def test_request_that_is_still_served_is_not_served_twice(
    client: httpx.AsyncClient, redis: Redis, door: FrontDoor
) -> None:
    async with Attempts(redis).alone(USER, KEY):
        reply = await start(client)
    assert (reply.status_code, reply.json()["code"]) == (409, "in_progress")
    assert door.prefect.runs == {}
    assert (await start(client)).status_code == 202


async def test_key_stays_locked_while_its_holder_lives_and_no_longer(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.idempotency.HELD_SECONDS", 0.3)
    monkeypatch.setattr("api.idempotency.EXTEND_SECONDS", 0.05)
    lock = names.idempotency_lock_key(USER, KEY)
    async with Attempts(redis).alone(USER, KEY), timeout(5):
        shortest = await redis.pttl(lock)
        while (left := await redis.pttl(lock)) <= shortest:  # until it was extended
            assert left > 0
            shortest = left
    assert await redis.pttl(lock) < 0
    monkeypatch.setattr("api.idempotency.EXTEND_SECONDS", 60)  # as if the holder had died
    async with Attempts(redis).alone(USER, KEY), timeout(5):
        while await redis.exists(lock):
            await asyncio.to_thread(lambda: None)
        async with Attempts(redis).alone(USER, KEY):
            pass


async def test_refused_start_does_not_use_up_the_key(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await start(client, "first")
    assert (await start(client, "second")).json()["code"] == "slots_full"
    door.admission.held.clear()
    assert (await start(client, "second", caption="Mended")).status_code == 202


async def test_failed_start_does_not_use_up_the_key(door: FrontDoor, client: httpx.AsyncClient) -> None:
    door.prefect.failing = NotDone("The orchestrator cannot be reached.")
    assert (await start(client)).status_code == 503
    assert door.admission.held == {}
    assert (await start(client, caption="Mended")).status_code == 202


@pytest.mark.parametrize("named", [{}, {"run_id": "lisbon"}])
async def test_run_whose_creation_went_unanswered_is_found_by_the_repetition(
    door: FrontDoor, client: httpx.AsyncClient, named: dict[str, str]
) -> None:
    door.prefect.failing = OutcomeUnknown("The orchestrator did not answer.")
    assert (await start(client, **named)).status_code == 503
    reply = await start(client, **named)
    assert reply.status_code == 202
    assert [str(flow_run_id) for flow_run_id in door.prefect.runs] == [reply.json()["flow_run_id"]]
    assert len(door.admission.held) == 1


async def test_repetition_uses_the_slot_of_a_start_whose_run_was_not_made(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    door.prefect.failing = OutcomeUnknown("The orchestrator did not answer.")
    await start(client)
    door.prefect.runs.clear()
    assert (await start(client)).status_code == 202
    [run] = door.prefect.runs.values()
    assert door.admission.held.keys() == {run.lease_id}


async def test_slot_in_doubt_is_not_given_back_when_the_repetition_fails(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    door.prefect.failing = OutcomeUnknown("The orchestrator did not answer.")
    await start(client)
    door.prefect.runs.clear()
    door.prefect.failing = NotDone("The orchestrator cannot be reached.")
    assert (await start(client)).status_code == 503
    assert len(door.admission.held) == 1


async def test_repetition_claims_anew_when_the_slot_has_run_out(door: FrontDoor, client: httpx.AsyncClient) -> None:
    door.prefect.failing = OutcomeUnknown("The orchestrator did not answer.")
    await start(client)
    door.prefect.runs.clear()
    door.admission.held.clear()
    assert (await start(client)).status_code == 202
    assert len(door.admission.held) == 1


@pytest.mark.parametrize("key", ["", '"', '""', "two words", "k" * 201, '"half', "tab\tbed"])
async def test_malformed_key_is_named(client: httpx.AsyncClient, key: str) -> None:
    reply = await start(client, key)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_keys_are_forgotten_after_a_day_and_never_stored_as_they_are(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    await start(client)
    [stored] = await redis.keys("video_orchestrator:idempotency:*")
    assert 0 < await redis.ttl(stored) <= 24 * 3600
    assert KEY not in stored
    assert JOB["script"] not in str(await redis.get(stored))
