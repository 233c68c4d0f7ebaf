from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from tabario.clients.store import MediaStore, open_store
from tabario.errors import InvalidInput, NotFound, PublishFailed
from tabario.settings import MediaSettings

KEY = "runs/0123456789ab/film.mp4"


class FullDisk(LocalFileSystem):  # type: ignore[misc] # fsspec ships no types
    """A disk on which every file that is written to ends on a full device."""

    protocol: ClassVar[str] = "full-disk"

    def _open(self, path: str, mode: str = "rb", **_: object) -> IO[bytes]:
        if "w" not in mode:
            file: IO[bytes] = super()._open(path, mode)
            return file
        Path(path).write_bytes(b"half")
        return Path("/dev/full").open("wb")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
def store(root: Path) -> MediaStore:
    return open_store(MediaSettings(root=root))


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def read_range(store: MediaStore, start: int, stop: int) -> bytes:
    return b"".join([chunk async for chunk in store.open_range(KEY, start, stop)])


async def test_what_is_put_can_be_read_fetched_and_measured(store: MediaStore, root: Path, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"film")
    await store.put(KEY, source)
    await store.fetch(KEY, copy)
    assert await store.exists(KEY)
    assert await store.size(KEY) == 4
    assert await store.read_bytes(KEY) == copy.read_bytes() == b"film"
    assert files(root) == [KEY]


async def test_a_second_put_replaces_the_first(store: MediaStore, root: Path) -> None:
    await store.put_bytes(KEY, b"first")
    await store.put_bytes(KEY, b"second")
    assert await store.read_bytes(KEY) == b"second"
    assert files(root) == [KEY]


async def test_a_cloud_store_serves_as_well() -> None:
    store = MediaStore("memory://bucket/media")
    await store.put_bytes(KEY, b"first")
    await store.put_bytes(KEY, b"second")
    assert await store.read_bytes(KEY) == b"second"
    assert await read_range(store, 1, 3) == b"ec"
    assert fsspec.filesystem("memory").find("/bucket") == [f"/bucket/media/{KEY}"]


@pytest.mark.parametrize(
    ("start", "stop", "expected"), [(0, 10, b"0123456789"), (3, 5, b"34"), (8, 99, b"89"), (4, 4, b""), (20, 30, b"")]
)
async def test_ranges_hold_the_bytes_asked_for(store: MediaStore, start: int, stop: int, expected: bytes) -> None:
    await store.put_bytes(KEY, b"0123456789")
    assert await read_range(store, start, stop) == expected


async def test_a_large_range_comes_in_chunks(store: MediaStore) -> None:
    data = os.urandom(700_000)
    await store.put_bytes(KEY, data)
    chunks = [chunk async for chunk in store.open_range(KEY, 100, 600_000)]
    assert b"".join(chunks) == data[100:600_000]
    assert len(chunks) > 1


async def test_a_missing_file_is_not_found(store: MediaStore, tmp_path: Path) -> None:
    assert not await store.exists(KEY)
    with pytest.raises(NotFound):
        await store.read_bytes(KEY)
    with pytest.raises(NotFound):
        await store.size(KEY)
    with pytest.raises(NotFound):
        await store.fetch(KEY, tmp_path / "copy")
    with pytest.raises(NotFound):
        await read_range(store, 0, 1)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../secret",
        "runs/../../secret",
        "runs/./film",
        "runs//film",
        "runs/",
        ".hidden",
        "runs/.hidden",
        "~/film",
        "runs/film\x00.mp4",
        "runs/film\n",
        "runs\\film",
        "file:///etc/passwd",
        "runs/" + "x" * 200,
        "a/" * 40 + "film",
    ],
)
async def test_a_key_that_is_not_plain_is_refused(store: MediaStore, root: Path, key: str) -> None:
    with pytest.raises(InvalidInput):
        await store.put_bytes(key, b"x")
    with pytest.raises(InvalidInput):
        await store.read_bytes(key)
    assert files(root) == []


@pytest.fixture
def outside(root: Path, tmp_path: Path) -> Path:
    """A directory outside the store, to which `link` in the store leads."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_bytes(b"secret")
    root.mkdir()
    (root / "link").symlink_to(directory)
    return directory


async def test_a_symbolic_link_leads_nowhere_outside(store: MediaStore, outside: Path) -> None:
    with pytest.raises(InvalidInput):
        await store.read_bytes("link/secret")
    with pytest.raises(InvalidInput):
        await store.put_bytes("link/new", b"x")
    assert files(outside) == ["secret"]


async def test_a_root_behind_a_symbolic_link_is_fine(root: Path, outside: Path) -> None:
    store = MediaStore(root / "link")
    await store.put_bytes(KEY, b"film")
    assert await store.read_bytes(KEY) == b"film"
    assert files(outside) == [KEY, "secret"]


@pytest.fixture
def full_disk(root: Path) -> Iterator[MediaStore]:
    fsspec.register_implementation("full-disk", FullDisk, clobber=True)
    yield MediaStore(f"full-disk://{root}")
    FullDisk.clear_instance_cache()


async def test_a_full_disk_leaves_nothing_half_written(store: MediaStore, full_disk: MediaStore, root: Path) -> None:
    await store.put_bytes(KEY, b"the film before")
    with pytest.raises(PublishFailed, match="full"):
        await full_disk.put_bytes(KEY, b"x" * 1_000_000)
    assert files(root) == [KEY]
    assert await store.read_bytes(KEY) == b"the film before"
