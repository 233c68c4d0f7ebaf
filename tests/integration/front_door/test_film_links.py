"""Links to films that need no token, and what they do not open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
from redis.asyncio import Redis

from tabario.clients.prefect import RunState
from tabario.errors import NotFound
from tabario.links import AUDIENCE, FilmLinks, Linked
from tabario.records import Film, JobRecord, Stage
from tests.support.front_door import FrontDoor, front_door
from tests.support.orchestrator import SettableClock
from tests.support.tokens import KEY, USER, token

LINK_KEY = "b2f1c09d7ae84653b2f1c09d7ae84653"
FILM = bytes(range(256)) * 4


@pytest.fixture
async def door(redis: Redis, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(redis, tmp_path, public_url="https://films.example/", link_key=LINK_KEY) as opened:
        yield opened


@pytest.fixture
async def client(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as opened:
        yield opened


async def finished(door: FrontDoor, client: httpx.AsyncClient) -> None:
    body = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams", "run_id": "lisbon"}
    assert (await client.post("/orchestrate/start", json=body)).status_code == 202
    [run] = door.prefect.runs.values()
    key = "runs/abc/film.mp4"
    await door.films.put_bytes(key, FILM)
    film = Film(film_key=key, byte_count=len(FILM), duration=3.0, width=480, height=480, scenes=1)
    await door.records.write(JobRecord(job_id=run.job.job_id, stage=Stage.DONE, film=film))
    door.prefect.runs[run.flow_run_id] = run.model_copy(update={"state": RunState.COMPLETED})


async def link(client: httpx.AsyncClient, **body: int) -> str:
    reply = await client.post("/orchestrate/link/lisbon", json=body)
    assert reply.status_code == 201, reply.text
    address = urlsplit(reply.json()["url"])
    assert f"{address.scheme}://{address.netloc}" == "https://films.example"
    return str(address.path)


async def test_a_link_serves_the_film_to_whoever_has_it(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await finished(door, client)
    path = await link(client, seconds=600)

    whole = await door.anonymous.get(path)
    part = await door.anonymous.get(path, headers={"Range": "bytes=10-19"})
    head = await door.anonymous.head(path)

    assert (whole.status_code, whole.content) == (200, FILM)
    assert (part.status_code, part.content) == (206, FILM[10:20])
    assert (head.status_code, head.content) == (200, b"")


async def test_a_wish_for_a_link_is_declared_as_json(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await finished(door, client)
    reply = await client.post("/orchestrate/link/lisbon", content=b"seconds=60", headers={"Content-Type": "text/plain"})
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")


async def test_a_link_says_when_it_expires(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await finished(door, client)
    reply = await client.post("/orchestrate/link/lisbon")
    left = datetime.fromisoformat(reply.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_only_the_owner_makes_links_and_only_to_a_film_that_is_there(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    assert (await client.post("/orchestrate/link/lisbon")).status_code == 404
    await finished(door, client)
    assert (await door.anonymous.post("/orchestrate/link/lisbon")).status_code == 401
    async with door.client(user_id="00000000-0000-4000-8000-0000000000ff") as stranger:
        assert (await stranger.post("/orchestrate/link/lisbon")).status_code == 404


@pytest.mark.parametrize("seconds", [0, 59, 8 * 24 * 3600])
async def test_a_link_serves_for_a_minute_to_a_week(door: FrontDoor, client: httpx.AsyncClient, seconds: int) -> None:
    await finished(door, client)
    reply = await client.post("/orchestrate/link/lisbon", json={"seconds": seconds})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == "seconds"


def forged(**changes: object) -> str:
    claims = {"aud": AUDIENCE, "sub": USER, "run": "lisbon", "exp": 4_000_000_000, **changes}
    return jwt.encode({name: value for name, value in claims.items() if value}, LINK_KEY, algorithm="HS256")


@pytest.mark.parametrize(
    "path",
    [
        "nonsense",
        "a.b.c",
        jwt.encode({"aud": AUDIENCE, "sub": USER, "run": "lisbon", "exp": 4_000_000_000}, KEY, algorithm="HS256"),
        jwt.encode({"aud": AUDIENCE, "sub": USER, "run": "lisbon", "exp": 4_000_000_000}, "", algorithm="none"),
        token(),
        forged(aud="authenticated"),
        forged(exp=None),
        forged(exp=1),
        forged(sub=None),
        forged(run=None),
        "..%2fruns",
        "x/y",
    ],
)
async def test_a_link_that_is_not_ours_or_has_expired_is_not_found(
    door: FrontDoor, client: httpx.AsyncClient, path: str
) -> None:
    await finished(door, client)
    assert (await door.anonymous.get(f"/orchestrate/films/{path}")).status_code == 404


async def test_a_link_is_no_access_token(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await finished(door, client)
    signed = (await link(client)).rpartition("/")[2]
    reply = await door.anonymous.get("/orchestrate/runs", headers={"Authorization": f"Bearer {signed}"})
    assert reply.status_code == 401


async def test_without_a_key_there_are_no_links(redis: Redis, tmp_path: Path) -> None:
    async with front_door(redis, tmp_path) as door, door.client() as client:
        await finished(door, client)
        assert (await client.post("/orchestrate/link/lisbon")).status_code == 404
        assert (await door.anonymous.get(f"/orchestrate/films/{forged()}")).status_code == 404


def test_a_link_leads_to_its_film_until_the_moment_it_expires() -> None:
    clock = SettableClock()
    links = FilmLinks(LINK_KEY.encode(), public_url="https://films.example/", clock=clock)
    made = links.make(USER, "lisbon", lifetime=timedelta(minutes=5))
    signed = made.url.removeprefix("https://films.example/orchestrate/films/")
    assert links.read(signed) == Linked(USER, "lisbon")
    clock.advance(301)
    with pytest.raises(NotFound, match="expired"):
        links.read(signed)
