"""The film of a job, and the files beside it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tabario.clients.prefect import RunState
from tests.support.front_door import FrontDoor
from tests.support.submitted import FILM, filmed, start, started


async def test_whole_film_is_sent(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.get("/orchestrate/video/lisbon")
    assert (reply.status_code, reply.content) == (200, FILM)
    assert reply.headers["content-type"] == "video/mp4"
    assert reply.headers["content-disposition"] == 'inline; filename="lisbon.mp4"'
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["cache-control"] == "private, no-cache"


async def test_range_of_the_film_is_sent(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.get("/orchestrate/video/lisbon", headers={"Range": "bytes=10-19"})
    assert (reply.status_code, reply.content) == (206, FILM[10:20])
    assert reply.headers["content-range"] == "bytes 10-19/1024"
    assert reply.headers["content-length"] == "10"


async def test_range_beyond_the_film_is_416(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.get("/orchestrate/video/lisbon", headers={"Range": "bytes=1024-"})
    assert (reply.status_code, reply.json()["code"]) == (416, "range_not_satisfiable")
    assert reply.headers["content-range"] == "bytes */1024"


async def test_film_is_sent_again_only_when_it_changed(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    etag = (await client.head("/orchestrate/video/lisbon")).headers["etag"]

    async def fetch(**headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.get("/orchestrate/video/lisbon", headers=named)

    assert (await fetch(If_None_Match=f'"other", {etag}')).status_code == 304
    assert (await fetch(If_None_Match='"other"')).status_code == 200
    assert (await fetch(If_Range=etag, Range="bytes=0-9")).status_code == 206
    assert (await fetch(If_Range='"other"', Range="bytes=0-9")).status_code == 200


async def test_head_tells_the_size_without_the_film(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await filmed(door, client)
    reply = await client.head("/orchestrate/video/lisbon")
    assert (reply.status_code, reply.headers["content-length"], reply.content) == (200, "1024", b"")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("poster.jpg", "image/jpeg"),
        ("subtitles.srt", "application/x-subrip"),
        ("subtitles.vtt", "text/vtt; charset=utf-8"),
    ],
)
async def test_files_that_go_with_the_film_are_sent_to_its_owner_only(
    door: FrontDoor, client: httpx.AsyncClient, stranger: httpx.AsyncClient, name: str, kind: str
) -> None:
    await filmed(door, client)
    reply = await client.get(f"/orchestrate/video/lisbon/{name}")
    assert (reply.status_code, reply.headers["content-type"], reply.text) == (200, kind, f"the {name}")
    assert (await stranger.get(f"/orchestrate/video/lisbon/{name}")).status_code == 404


async def test_a_job_without_a_film_has_no_files_and_other_names_are_refused(
    door: FrontDoor, client: httpx.AsyncClient
) -> None:
    run = await started(door, client)
    early = await client.get("/orchestrate/video/lisbon/poster.jpg")
    assert (early.status_code, early.json()["code"]) == (409, "film_not_ready")
    door.prefect.move(run, RunState.FAILED)
    assert (await client.get("/orchestrate/video/lisbon/poster.jpg")).status_code == 404
    assert (await client.get("/orchestrate/video/lisbon/film.part")).status_code == 422


async def test_a_script_that_no_font_can_show_is_refused(client: httpx.AsyncClient) -> None:
    reply = await start(client, script="Trams are called 電車 there.")
    assert reply.status_code == 422
    [problem] = reply.json()["errors"]
    assert problem["field"] == "script"
    assert "U+8ECA" in problem["message"]
    assert "fonts-noto-cjk" in problem["message"]


@pytest.mark.parametrize("voice", ["nobody", "en+nobody", "../../etc/passwd", "alloy"])
async def test_a_voice_that_nobody_has_is_refused(client: httpx.AsyncClient, voice: str) -> None:
    reply = await start(client, voice_id=voice)
    assert (reply.status_code, [one["field"] for one in reply.json()["errors"]]) == (422, ["voice_id"])


async def test_a_script_in_the_letters_of_another_language_is_refused(client: httpx.AsyncClient) -> None:
    reply = await start(client, script="Трамваи поднимаются на холмы Лиссабона, как Tram 28.")
    [problem] = reply.json()["errors"]
    assert (reply.status_code, problem["field"]) == (422, "language")
    assert problem["message"].startswith("is English, but most of the script is in Cyrillic letters.")
    again = await start(client, script="Трамваи поднимаются на холмы.", language="ru")
    assert again.status_code == 202, again.text


async def test_music_that_is_not_there_is_refused(tmp_path: Path, client: httpx.AsyncClient) -> None:
    reply = await start(client, music="waltz")
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "music")
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "waltz.flac").write_bytes(b"")
    assert (await start(client, music="tango")).json()["errors"][0]["message"].endswith("use one of: waltz.")
    assert (await start(client, music="waltz")).status_code == 202


async def test_film_of_a_running_job_is_not_ready(door: FrontDoor, client: httpx.AsyncClient) -> None:
    await started(door, client)
    reply = await client.get("/orchestrate/video/lisbon")
    assert (reply.status_code, reply.json()["code"]) == (409, "film_not_ready")


async def test_failed_job_has_no_film(door: FrontDoor, client: httpx.AsyncClient) -> None:
    door.prefect.move(await started(door, client), RunState.FAILED)
    assert (await client.get("/orchestrate/video/lisbon")).status_code == 404
