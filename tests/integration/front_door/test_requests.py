"""What the front door refuses, and how."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.tiers import Tier
from tests.support.front_door import FrontDoor, front_door
from tests.support.orchestrator import new_user
from tests.support.servers import RedisServer
from tests.support.tokens import OTHER_USER, forge, token

JOB: Final[dict[str, Any]] = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams"}
PROBLEM: Final = "application/problem+json"

ROUTES: Final = [
    ("POST", "/orchestrate/start"),
    ("GET", "/orchestrate/runs"),
    ("GET", "/orchestrate/status/lisbon"),
    ("GET", "/orchestrate/events/lisbon"),
    ("POST", "/orchestrate/cancel/lisbon"),
    ("GET", "/orchestrate/video/lisbon"),
    ("HEAD", "/orchestrate/video/lisbon"),
    ("GET", "/orchestrate/video/lisbon/poster.jpg"),
    ("POST", "/orchestrate/link/lisbon"),
    ("GET", "/orchestrate/slots"),
    ("POST", "/orchestrate/runs/lisbon/scenes/2/regenerate"),
]


@pytest.fixture(scope="module")
async def store(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(f"{redis_server.url[:-1]}6", decode_responses=True) as client:
        await client.flushdb()
        yield client


@pytest.fixture(scope="module")
async def door(store: Redis, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FrontDoor]:
    """One for all: building the app takes longer than most of these tests, and what is refused leaves no trace."""
    async with front_door(store, tmp_path_factory.mktemp("door"), rate="1000/minute") as opened:
        yield opened


@pytest.fixture
async def client(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client() as opened:
        yield opened


def assert_problem(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (reply.status_code, reply.headers["content-type"]) == (status, PROBLEM), reply.text
    body: dict[str, Any] = reply.json()
    assert {"type", "title", "status", "detail", "code", "instance"} <= body.keys()
    assert (body["status"], body["code"], body["instance"]) == (status, code, reply.request.url.path)
    return body


# --- authentication ---


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_stranger_is_turned_away_before_the_body_is_read(door: FrontDoor, method: str, path: str) -> None:
    reply = await door.anonymous.request(method, path, content=b"{broken")
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_every_documented_error_is_problem_json(door: FrontDoor) -> None:
    document = (await door.anonymous.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    errors = [reply for one in operations for status, reply in one["responses"].items() if status >= "4"]
    assert {media_type for reply in errors for media_type in reply["content"]} == {"application/problem+json"}


async def test_every_documented_route_but_the_operators_needs_a_token(door: FrontDoor) -> None:
    document = (await door.anonymous.get("/openapi.json")).json()
    documented = {
        path for path in document["paths"] if not path.startswith(("/health", "/ready", "/orchestrate/films"))
    }
    assert documented == {
        path.replace("lisbon", "{run}").replace("/2/", "/{scene}/").replace("poster.jpg", "{file}")
        for _, path in ROUTES
    }


@pytest.mark.parametrize("path", ["/", "/orchestrate", "/health/", "//health", "/metrics/", "/docs/x", "/redoc"])
async def test_paths_beside_the_open_ones_are_closed(door: FrontDoor, path: str) -> None:
    assert (await door.anonymous.get(path)).status_code == 401


async def test_page_of_the_api_needs_no_other_server(door: FrontDoor) -> None:
    page = (await door.anonymous.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) == 3
    for address in addresses:
        assert address.startswith("/")
        assert (await door.anonymous.get(address)).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/docs", "/openapi.json"])
async def test_open_paths_need_no_token(door: FrontDoor, path: str) -> None:
    assert (await door.anonymous.get(path)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Basic dXNlcjpwYXNz")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", "bearer not.a.token")],
        [("Authorization", token())],
        [("Authorization", f"Bearer {token()}, Bearer {token()}")],
        [("Authorization", f"Bearer {token()}"), ("Authorization", f"Bearer {token()}")],
        [("Authorization", f"Bearer {'x' * 9_000}")],
        [("Authorization", f"Bearer {forge(exp=1)}")],
        [("X-Authorization", f"Bearer {token()}")],
        [("Cookie", f"access_token={token()}")],
    ],
)
async def test_anything_but_one_good_bearer_token_gets_the_same_401(
    door: FrontDoor, headers: list[tuple[str, str]]
) -> None:
    reply = await door.anonymous.get("/orchestrate/slots", headers=headers)
    assert assert_problem(reply, 401, "invalid_token")["detail"] == "A valid access token is required."


async def test_token_in_the_query_is_ignored(door: FrontDoor) -> None:
    reply = await door.anonymous.get("/orchestrate/slots", params={"access_token": token(), "token": token()})
    assert_problem(reply, 401, "invalid_token")


async def test_token_of_another_role_is_forbidden(door: FrontDoor) -> None:
    headers = {"Authorization": f"Bearer {forge(role='service_role')}"}
    assert_problem(await door.anonymous.get("/orchestrate/slots", headers=headers), 403, "forbidden")


async def test_scheme_may_be_written_in_any_case(door: FrontDoor) -> None:
    reply = await door.anonymous.get("/orchestrate/slots", headers={"Authorization": f"bEaReR {token()}"})
    assert reply.status_code == 200


async def test_tier_is_taken_from_the_claim_of_the_issuer(door: FrontDoor) -> None:
    async with door.client(user_id=new_user(), tier=Tier.PREMIUM) as client:
        assert (await client.get("/orchestrate/slots")).json() == {"tier": "premium", "limit": 3, "active": []}


async def test_without_the_claim_a_user_is_standard(door: FrontDoor) -> None:
    headers = {"Authorization": f"Bearer {forge(user_metadata={'tier': 'premium'})}"}
    assert (await door.anonymous.get("/orchestrate/slots", headers=headers)).json()["tier"] == "standard"


async def test_document_describes_every_refusal_as_a_problem(door: FrontDoor) -> None:
    document = (await door.anonymous.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for operation in operations:
        for status, reply in operation["responses"].items():
            assert int(status) < 400 or list(reply["content"]) == [PROBLEM], (operation["operationId"], status)
        if operation["tags"] == ["jobs"]:
            assert operation["security"] == [{"access_token": []}]
            assert {"401", "403", "503"} <= operation["responses"].keys()
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))


# --- bad input creates nothing ---

BAD_JOBS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "empty script": ({"script": ""}, "script"),
    "blank script": ({"script": " \n "}, "script"),
    "script without a word": ({"script": "?!..."}, "script"),
    "script of 20 kB": ({"script": "word " * 4_000}, "script"),
    "script with a control character": ({"script": "a\x00b"}, "script"),
    "script with half a surrogate pair": ({"script": "a\ud800b"}, "script"),
    "script is a number": ({"script": 7}, "script"),
    "script is null": ({"script": None}, "script"),
    "no caption": ({"caption": None}, "caption"),
    "caption is a list": ({"caption": ["x"]}, "caption"),
    "unknown style": ({"image_style": "cubism"}, "image_style"),
    "unknown style by its alias": ({"style": "cubism"}, "style"),
    "unknown language": ({"language": "tlh"}, "language"),
    "width of 7": ({"image_width": 7, "image_height": 512}, "image_width"),
    "height of a million": ({"image_width": 512, "image_height": 1_000_000}, "image_height"),
    "width is text": ({"image_width": "wide", "image_height": 512}, "image_width"),
    "width alone": ({"image_width": 512}, "image_height"),
    "more prompts than words": ({"script": "Trams.", "prompts": [{"image_prompt": "a"}] * 2}, "prompts"),
    "unknown format": ({"video_format": "4:3"}, "video_format"),
    "unknown resolution": ({"target_resolution": "8k"}, "target_resolution"),
    "prompts are an object": ({"prompts": {}}, "prompts"),
    "empty prompt": ({"prompts": [{"image_prompt": "a"}, {"image_prompt": ""}]}, "prompts.1.image_prompt"),
    "prompt with a NUL": ({"prompts": [{"image_prompt": "a\x00b"}]}, "prompts.0.image_prompt"),
    "voice with a NUL": ({"voice_id": "a\x00b"}, "voice_id"),
    "too many prompts": ({"prompts": [{"image_prompt": "a"}] * 61}, "prompts"),
    "extra field in a prompt": ({"prompts": [{"image_prompt": "a", "style": "x"}]}, "prompts.0.style"),
    "run_id is a path": ({"run_id": "../../etc/passwd"}, "run_id"),
    "run_id of 65 characters": ({"run_id": "r" * 65}, "run_id"),
    "run_id ends in a line break": ({"run_id": "lisbon\n"}, "run_id"),
    "user_id is no UUID": ({"user_id": "me"}, "user_id"),
    "extra field": ({"colour": "red"}, "colour"),
    "tier": ({"tier": "premium"}, "tier"),
    "job_id": ({"job_id": "x"}, "job_id"),
}


async def everything(door: FrontDoor, store: Redis) -> tuple[list[str], int, int]:
    """All but the counts of requests, and the tiers that were looked up."""
    passing = (names.RATE_PREFIX, names.tier_key(""))
    keys = [key for key in map(str, await store.keys("*")) if not key.startswith(passing)]
    return sorted(keys), len(door.prefect.runs), len(door.admission.held)


@pytest.mark.parametrize(("change", "field"), BAD_JOBS.values(), ids=BAD_JOBS.keys())
async def test_bad_field_is_named_and_nothing_is_created(
    door: FrontDoor, client: httpx.AsyncClient, store: Redis, change: dict[str, Any], field: str
) -> None:
    before = await everything(door, store)
    body = {name: value for name, value in {**JOB, **change}.items() if name != "caption" or value is not None}
    text = json.dumps(body)
    reply = await client.post("/orchestrate/start", content=text, headers={"Content-Type": "application/json"})
    errors = assert_problem(reply, 422, "invalid_input")["errors"]
    assert [error["field"] for error in errors] == [field]
    assert await everything(door, store) == before


BAD_BODIES: Final[dict[str, tuple[bytes, str, int, str]]] = {
    "broken JSON": (b'{"script": ', "application/json", 400, "malformed_json"),
    "no UTF-8": (b'{"script": "\xff"}', "application/json", 400, "bad_request"),
    "nested too deeply": (b"[" * 100_000, "application/json", 400, "bad_request"),
    "number with too many digits": (b'{"image_width": ' + b"1" * 5_000 + b"}", "application/json", 400, "bad_request"),
    "empty": (b"", "application/json", 422, "invalid_input"),
    "a list": (b"[]", "application/json", 422, "invalid_input"),
    "null": (b"null", "application/json", 422, "invalid_input"),
    "text": (b"script=x", "text/plain", 415, "unsupported_media_type"),
    "a form": (b"script=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    "200 kB": (json.dumps({**JOB, "script": "x" * 200_000}).encode(), "application/json", 413, "body_too_large"),
}


@pytest.mark.parametrize(("body", "media_type", "status", "code"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_bad_body_is_refused_and_nothing_is_created(  # noqa: PLR0913, PLR0917 - fixtures and a row of the table
    door: FrontDoor,
    client: httpx.AsyncClient,
    store: Redis,
    body: bytes,
    media_type: str,
    status: int,
    code: str,
) -> None:
    before = await everything(door, store)
    reply = await client.post("/orchestrate/start", content=body, headers={"Content-Type": media_type})
    assert_problem(reply, status, code)
    assert await everything(door, store) == before


async def test_chunked_body_over_the_cap_is_refused(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 4_096

    reply = await client.post("/orchestrate/start", content=chunks(), headers={"Content-Type": "application/json"})
    assert_problem(reply, 413, "body_too_large")


async def test_body_that_does_not_come_is_not_waited_for(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.body_limit.BODY_SECONDS", 0.2)

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"script":'
        await asyncio.Event().wait()

    reply = await client.post("/orchestrate/start", content=chunks(), headers={"Content-Type": "application/json"})
    assert_problem(reply, 408, "body_too_slow")


async def test_what_the_caller_sent_is_not_repeated(client: httpx.AsyncClient) -> None:
    reply = await client.post("/orchestrate/start", json={**JOB, "language": "secret-0451", "token": "secret-0451"})
    assert "secret-0451" not in reply.text


async def test_job_in_another_users_name_is_forbidden(door: FrontDoor, client: httpx.AsyncClient, store: Redis) -> None:
    before = await everything(door, store)
    reply = await client.post("/orchestrate/start", json={**JOB, "user_id": OTHER_USER})
    assert_problem(reply, 403, "forbidden")
    assert await everything(door, store) == before


# --- the rest of the edge ---


async def test_unknown_route_is_a_problem(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/nothing/here"), 404, "not_found")


async def test_wrong_method_is_a_problem_that_names_the_right_ones(client: httpx.AsyncClient) -> None:
    reply = await client.get("/orchestrate/start")
    assert_problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["status", "cancel", "video"])
@pytest.mark.parametrize("reference", ["..", "%2e%2e%2fetc", "a.b", "x" * 65, "a%00b", "-x"])
async def test_malformed_reference_names_no_job(client: httpx.AsyncClient, path: str, reference: str) -> None:
    method = "POST" if path == "cancel" else "GET"
    reply = await client.request(method, f"/orchestrate/{path}/{reference}")
    assert reply.status_code in (404, 422)
    assert reply.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    ("name", "value"), [("limit", "0"), ("limit", "101"), ("limit", "x"), ("cursor", "x" * 12_001)]
)
async def test_wrong_parameter_is_named(client: httpx.AsyncClient, name: str, value: str) -> None:
    body = assert_problem(await client.get("/orchestrate/runs", params={name: value}), 422, "invalid_input")
    assert [error["field"] for error in body["errors"]] == [name]


async def test_unexpected_error_is_a_500_that_says_nothing(
    door: FrontDoor, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    door.prefect.failing = ValueError("redis://:hunter2@10.0.0.7")
    reply = await client.post("/orchestrate/start", json=JOB, headers={"Origin": "https://app.example"})
    assert_problem(reply, 500, "internal_error")
    assert "hunter2" not in reply.text
    assert "hunter2" in caplog.text
    assert reply.headers["x-request-id"]


async def test_request_id_is_echoed_when_it_is_safe(client: httpx.AsyncClient) -> None:
    reply = await client.get("/health", headers={"X-Request-ID": "abc-123_x.y"})
    assert reply.headers["x-request-id"] == "abc-123_x.y"


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", 'a"b', ""])
async def test_unsafe_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    reply = await client.get("/health", headers={"X-Request-ID": given})
    assert reply.headers["x-request-id"] != given
    assert len(reply.headers["x-request-id"]) == 32


@pytest.mark.parametrize("path", ["/health", "/orchestrate/slots", "/nothing"])
async def test_replies_are_neither_stored_nor_sniffed(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


async def preflight(door: FrontDoor, origin: str) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    return await door.anonymous.options("/orchestrate/start", headers=asked)


async def test_only_configured_origins_may_call_from_a_browser(redis: Redis, tmp_path: Path) -> None:
    async with front_door(redis, tmp_path, cors_origins="https://app.example") as door:
        assert (await preflight(door, "https://app.example")).headers[
            "access-control-allow-origin"
        ] == "https://app.example"
        assert "access-control-allow-origin" not in (await preflight(door, "https://evil.example")).headers
        refused = await door.anonymous.get("/orchestrate/slots", headers={"Origin": "https://app.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://app.example")
