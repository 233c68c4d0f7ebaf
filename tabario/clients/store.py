"""The media store: finished films and the parts they are made of, under keys, on any file system that fsspec knows.

What is under a key is complete: it is written aside and then moved into place.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

from anyio import to_thread
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tabario.errors import InvalidInput, NotFound, PublishFailed, RetryLater
from tabario.settings import MediaSettings

_KEY: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/){0,15}[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)
_CHUNK_BYTES: Final = 256 * 1024


def open_store(settings: MediaSettings) -> MediaStore:
    """The store that the settings name."""
    return MediaStore(settings.root)


class MediaStore:
    """Files under keys such as `runs/0123456789ab/film.mp4`, which are relative and made of plain names.

    `location` is a directory, or an address that fsspec knows, such as `s3://bucket/media`.
    Every method raises InvalidInput for a key that is not of this kind, or that a symbolic link leads out of the store.
    Reading raises NotFound when nothing is there, RetryLater when the store does not answer; writing raises
    PublishFailed and leaves what was there before.
    """

    def __init__(self, location: str | Path) -> None:
        self._files, self._root = url_to_fs(str(location))

    async def exists(self, key: str) -> bool:
        """Whether there is a file under the key."""
        return await to_thread.run_sync(self._exists, key)

    async def size(self, key: str) -> int:
        """Bytes."""
        return await to_thread.run_sync(self._size, key)

    async def put(self, key: str, source: Path) -> None:
        """Stores a file, replacing what is there."""
        await to_thread.run_sync(self._put_file, key, source)

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Stores bytes, replacing what is there."""
        await to_thread.run_sync(self._put, key, BytesIO(data))

    async def fetch(self, key: str, destination: Path) -> None:
        """Copies the file to `destination`, which is complete or not there at all."""
        await to_thread.run_sync(self._fetch, key, destination)

    async def read_bytes(self, key: str) -> bytes:
        """The whole file."""
        return await to_thread.run_sync(self._read, key)

    async def open_range(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `stop`, in chunks; fewer when the file ends before."""
        file = await to_thread.run_sync(self._open, key, start)
        try:
            left = stop - start
            while left > 0 and (chunk := await to_thread.run_sync(_read_chunk, file, left)):
                left -= len(chunk)
                yield chunk
        finally:
            file.close()

    def _exists(self, key: str) -> bool:
        path = self._path(key)
        with _reading():
            return bool(self._files.isfile(path))

    def _size(self, key: str) -> int:
        path = self._path(key)
        with _reading():
            return int(self._files.size(path))

    def _read(self, key: str) -> bytes:
        path = self._path(key)
        with _reading():
            return bytes(self._files.cat_file(path))

    def _open(self, key: str, start: int) -> IO[bytes]:
        path = self._path(key)
        with _reading():
            file: IO[bytes] = self._files.open(path, "rb")
            file.seek(start)
        return file

    def _fetch(self, key: str, destination: Path) -> None:
        path = self._path(key)
        aside = destination.with_name(f".{destination.name}.{uuid4().hex}.part")
        try:
            with _reading():
                self._files.get_file(path, str(aside))
            aside.replace(destination)
        finally:
            aside.unlink(missing_ok=True)

    def _put_file(self, key: str, source: Path) -> None:
        with source.open("rb") as data:
            self._put(key, data)

    def _put(self, key: str, data: IO[bytes]) -> None:
        path = self._path(key)
        directory, name = path.rsplit("/", 1)
        aside = f"{directory}/.{name}.{uuid4().hex}.part"
        try:
            self._files.makedirs(directory, exist_ok=True)
            with self._files.open(aside, "wb") as file:
                shutil.copyfileobj(data, file, _CHUNK_BYTES)
            self._files.mv(aside, path)
        except OSError as error:
            with suppress(OSError):
                self._files.rm_file(aside)
            raise PublishFailed(_why_not_stored(error)) from error

    def _path(self, key: str) -> str:
        """Where the key's file lies. Raises InvalidInput when that is outside the store."""
        if _KEY.fullmatch(key) is None:
            raise InvalidInput("key", "is not the key of a stored file.")
        path = f"{self._root}/{key}"
        if isinstance(self._files, LocalFileSystem) and not _is_inside(Path(path), Path(self._root)):
            raise InvalidInput("key", "is not the key of a stored file.")
        return path


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _read_chunk(file: IO[bytes], left: int) -> bytes:
    with _reading():
        return file.read(min(_CHUNK_BYTES, left))


def _why_not_stored(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The media store is full: nothing was stored. Free space, then send the job again."
    return "The media store could not be written: nothing was stored."


@contextmanager
def _reading() -> Iterator[None]:
    """Turns what a file system raises into what the next step needs to know."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("This file is not in the media store.") from error
    except OSError as error:
        raise RetryLater("The media store cannot be read at the moment.") from error
