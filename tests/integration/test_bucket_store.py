"""The media store in a bucket of a real S3 API, and what is pruned from it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tabario.clients.store import MediaStore, StoredFile, open_store
from tabario.content import content_key, run_key
from tabario.errors import InvalidInput, NotFound, PublishFailed, RetryLater
from tabario.pruning import overdue, prune
from tabario.settings import MediaSettings
from tests.support.buckets import Bucket, bucket_running
from tests.support.servers import free_port
from tests.support.waiting import eventually

FILM = run_key("ann", "job", "film.mp4")
PART = content_key("picture", "ann", ".png", seed=1)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with bucket_running(tmp_path_factory.mktemp("bucket")) as running:
        yield running


@pytest.fixture
async def store(bucket: Bucket) -> AsyncIterator[MediaStore]:
    opened = open_store(bucket.settings())
    yield opened
    for file in await opened.files():
        await opened.remove(file.key)


async def read_range(store: MediaStore, start: int, stop: int) -> bytes:
    return b"".join([chunk async for chunk in store.open_range(FILM, start, stop)])


async def test_what_one_host_puts_another_reads(store: MediaStore, bucket: Bucket, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"film")
    assert not await store.exists(FILM)
    await store.put(FILM, source)

    elsewhere = open_store(bucket.settings())
    assert await elsewhere.exists(FILM)
    assert await elsewhere.size(FILM) == 4
    await elsewhere.fetch(FILM, copy)
    assert copy.read_bytes() == b"film"
    await elsewhere.put_bytes(FILM, b"another")
    assert await store.read_bytes(FILM) == b"another"


async def test_a_large_file_is_whole_and_comes_in_parts(store: MediaStore, tmp_path: Path) -> None:
    data = os.urandom(9_000_000)
    source = tmp_path / "source"
    source.write_bytes(data)
    await store.put(FILM, source)
    chunks = [chunk async for chunk in store.open_range(FILM, 100, 99_000_000)]
    assert b"".join(chunks) == data[100:]
    assert len(chunks) > 1
    assert await read_range(store, 8_999_990, 9_000_000) == data[-10:]
    assert await read_range(store, 9_000_000, 9_000_010) == b""


async def test_a_missing_file_is_not_found_and_may_be_removed(store: MediaStore) -> None:
    with pytest.raises(NotFound):
        await store.read_bytes(FILM)
    with pytest.raises(NotFound):
        await store.size(FILM)
    with pytest.raises(NotFound):
        await read_range(store, 0, 1)
    await store.remove(FILM)


async def test_a_key_that_is_not_plain_is_refused(store: MediaStore) -> None:
    with pytest.raises(InvalidInput):
        await store.put_bytes("../other/film", b"x")


async def test_a_service_that_is_away_is_to_be_asked_later(bucket: Bucket) -> None:
    away = open_store(bucket.settings(endpoint=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(RetryLater, match="media store") as caught:
        await away.read_bytes(FILM)
    assert "127.0.0.1" not in str(caught.value)
    with pytest.raises(PublishFailed):
        await away.put_bytes(FILM, b"x")


async def test_a_bucket_that_is_not_there_cannot_be_written(bucket: Bucket) -> None:
    with pytest.raises(PublishFailed):
        await open_store(bucket.settings(bucket="nowhere")).put_bytes(FILM, b"x")


def in_a_directory(tmp_path: Path, **changes: object) -> MediaSettings:
    return MediaSettings.model_validate({"root": tmp_path / "media", **changes})


@pytest.mark.parametrize("where", ["bucket", "directory"])
async def test_what_is_too_old_is_removed_and_the_rest_stays(bucket: Bucket, tmp_path: Path, where: str) -> None:
    settings = bucket.settings() if where == "bucket" else in_a_directory(tmp_path)
    store = open_store(settings)
    for key in (FILM, PART, "elsewhere/file"):
        await store.put_bytes(key, b"12345")
    assert (await prune(store, settings)).files == 0

    later = datetime.now(UTC) + timedelta(days=8)
    told = await prune(store, settings, write=False, clock=lambda: later)
    assert (told.files, told.size) == (2, 10)
    assert await store.exists(FILM)
    assert (await prune(store, settings, clock=lambda: later)).files == 2
    assert [file.key for file in await store.files()] == ["elsewhere/file"]
    await store.remove("elsewhere/file")


def file(key: str, *, days: float, gib: float = 1) -> StoredFile:
    return StoredFile(key, int(gib * 2**30), NOW - timedelta(days=days))


def test_films_and_parts_have_ages_of_their_own() -> None:
    settings = MediaSettings(keep_films_days=30, keep_parts_days=2)
    old_film, film, old_part, part = (
        file(run_key("ann", "1", "film.mp4"), days=31),
        file(run_key("ann", "2", "film.mp4"), days=29),
        file(content_key("picture", "ann", ".png", seed=1), days=3),
        file(content_key("picture", "ann", ".png", seed=2), days=1.5),
    )
    assert overdue([old_film, film, old_part, part], settings, now=NOW) == [old_film, old_part]


def test_beyond_the_quota_the_oldest_parts_go_first_then_the_oldest_films() -> None:
    settings = MediaSettings(quota_gib=2)
    films = [file(run_key("ann", str(days), "film.mp4"), days=days) for days in (5, 4, 3)]
    part = file(content_key("picture", "ann", ".png", seed=1), days=2)
    others = [file(run_key("bob", "1", "film.mp4"), days=6, gib=2)]
    assert overdue([*films, part, *others], settings, now=NOW) == [part, films[0]]


def test_what_a_running_job_may_need_stays_whatever_the_quota() -> None:
    fresh = [file(content_key("picture", "ann", ".png", seed=seed), days=0.5) for seed in range(5)]
    assert overdue(fresh, MediaSettings(quota_gib=1), now=NOW) == []


def test_a_voiceovers_words_and_sound_go_together_and_the_words_first() -> None:
    sound, words = (content_key("voiceover", "ann", suffix, script="Hello.") for suffix in (".wav", ".json"))
    picture = file(content_key("picture", "ann", ".png", seed=1), days=2)
    pair = [file(sound, days=3.1, gib=1), file(words, days=3, gib=0.1)]
    assert overdue([picture, *pair], MediaSettings(quota_gib=1), now=NOW) == [pair[1], pair[0]]
    half_adopted = [file(sound, days=9), file(words, days=0.5)]
    assert overdue(half_adopted, MediaSettings(keep_parts_days=7, quota_gib=1), now=NOW) == []


@pytest.mark.parametrize("where", ["bucket", "directory"])
async def test_an_adopted_part_is_as_young_as_a_new_one_and_keeps_its_bytes(
    bucket: Bucket, tmp_path: Path, where: str
) -> None:
    settings = bucket.settings() if where == "bucket" else in_a_directory(tmp_path)
    store = open_store(settings)
    assert not await store.adopt(PART)
    await store.put_bytes(PART, b"12345")
    before = await store.modified(PART)

    async def is_younger() -> bool:
        assert await store.adopt(PART)
        return await store.modified(PART) > before

    await eventually(is_younger, within=5, what="a bucket's clock, which counts seconds, has gone on")
    assert await store.read_bytes(PART) == b"12345"
    await store.remove(PART)


class AdoptedMeanwhile(MediaStore):
    """A store in which a job adopts a part just after it was listed."""

    async def files(self) -> list[StoredFile]:
        listed = await super().files()
        await self.adopt(PART)
        return listed


async def test_a_part_that_is_adopted_while_the_store_is_pruned_stays(tmp_path: Path) -> None:
    store, other = AdoptedMeanwhile(tmp_path), content_key("picture", "ann", ".png", seed=2)
    for key in (PART, other):
        await store.put_bytes(key, b"12345")
        os.utime(tmp_path / key, (0, 0))
    assert (await prune(store, MediaSettings())).files == 1
    assert [file.key for file in await store.files()] == [PART]


async def test_half_written_files_of_dead_writers_are_removed_after_a_day(tmp_path: Path) -> None:
    settings = in_a_directory(tmp_path)
    store = open_store(settings)
    await store.put_bytes(FILM, b"film")
    old, young = (tmp_path / "media" / f".film.{age}.part" for age in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert (await prune(store, settings)).leftovers == 1
    assert not old.exists()
    assert young.exists()
