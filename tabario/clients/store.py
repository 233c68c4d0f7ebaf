"""The media store: finished films and the parts they are made of, under keys, in a directory or a bucket.

What is under a key is complete: on disk it is written aside and then moved into place, a bucket takes it whole.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final
from uuid import uuid4

from anyio import to_thread
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tabario.errors import InvalidInput, NotFound, PublishFailed, RetryLater
from tabario.settings import MediaSettings

_KEY: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/){0,15}[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)
_CHUNK_BYTES: Final = 256 * 1024
_REMOTE_CHUNK_BYTES: Final = 4 * 1024 * 1024  # each chunk is a request
_LEFT_AFTER: Final = timedelta(days=1)  # no upload takes so long
_FAULTS: Final = (OSError, BotoCoreError, ClientError)

_BUCKET_LIMITS: Final = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 4, "mode": "standard"}}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store: its bytes, and when it was written."""

    key: str
    size: int
    modified: datetime


def open_store(settings: MediaSettings) -> MediaStore:
    """The store that the settings name."""
    if settings.bucket is None:
        return MediaStore(settings.root)
    return MediaStore(f"s3://{settings.bucket}", _bucket_options(settings))


def _bucket_options(settings: MediaSettings) -> dict[str, Any]:
    """Arguments of s3fs. A listing is never remembered: other processes write to the same bucket."""
    style = {"addressing_style": "path"} if settings.endpoint else {}
    options: dict[str, Any] = {
        "endpoint_url": settings.endpoint,
        "client_kwargs": {"region_name": settings.region},
        "config_kwargs": {**_BUCKET_LIMITS, "signature_version": "s3v4", "s3": style},
        "use_listings_cache": False,
    }
    if settings.access_key is not None and settings.secret_key is not None:
        options |= {"key": settings.access_key.get_secret_value(), "secret": settings.secret_key.get_secret_value()}
    return options


class MediaStore:
    """Files under keys such as `runs/0123456789ab/film.mp4`, which are relative and made of plain names.

    `location` is a directory, or an address that fsspec knows, such as `s3://bucket/media`; `options` are its driver's.
    Every method raises InvalidInput for a key that is not of this kind, or that a symbolic link leads out of the store.
    Reading raises NotFound when nothing is there, RetryLater when the store does not answer; writing raises
    PublishFailed and leaves what was there before.
    """

    def __init__(self, location: str | Path, options: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._files, self._root = url_to_fs(str(location), **options)
        self._on_disk = isinstance(self._files, LocalFileSystem)

    async def exists(self, key: str) -> bool:
        """Whether there is a file under the key."""
        return await to_thread.run_sync(self._exists, key)

    async def adopt(self, key: str) -> bool:
        """Whether there is a file under the key; it is then as young as one that was just written."""
        return await to_thread.run_sync(self._adopt, key)

    async def modified(self, key: str) -> datetime:
        """When the file was written, or adopted."""
        return await to_thread.run_sync(self._written, key)

    async def size(self, key: str) -> int:
        """Bytes."""
        return await to_thread.run_sync(self._size, key)

    async def put(self, key: str, source: Path) -> None:
        """Stores a file, replacing what is there."""
        await to_thread.run_sync(self._put_file, key, source)

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Stores bytes, replacing what is there."""
        await to_thread.run_sync(self._put, key, data)

    async def fetch(self, key: str, destination: Path) -> None:
        """Copies the file to `destination`, which is complete or not there at all."""
        await to_thread.run_sync(self._fetch, key, destination)

    async def read_bytes(self, key: str) -> bytes:
        """The whole file."""
        return await to_thread.run_sync(self._read, key)

    async def remove(self, key: str) -> None:
        """Deletes a file; one that is not there is fine."""
        await to_thread.run_sync(self._remove, key)

    async def files(self) -> list[StoredFile]:
        """Every file in the store."""
        return await to_thread.run_sync(self._list)

    async def remove_leftovers(self) -> int:
        """Deletes what writers that died have left half written; returns how many."""
        return await to_thread.run_sync(self._remove_leftovers)

    async def open_range(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `stop`, in chunks; fewer when the file ends before."""
        if self._on_disk:
            file = await to_thread.run_sync(self._open, key, start)
            try:
                left = stop - start
                while left > 0 and (chunk := await to_thread.run_sync(_read_chunk, file, left)):
                    left -= len(chunk)
                    yield chunk
            finally:
                file.close()
            return
        stop = min(stop, await self.size(key))
        for begin in range(start, stop, _REMOTE_CHUNK_BYTES):
            yield await to_thread.run_sync(self._read_part, key, begin, min(stop, begin + _REMOTE_CHUNK_BYTES))

    def _exists(self, key: str) -> bool:
        path = self._path(key)
        with _reading():
            return bool(self._files.isfile(path))

    def _adopt(self, key: str) -> bool:
        path = self._path(key)
        try:
            with _reading():
                if self._on_disk:
                    os.utime(path)
                else:  # a bucket copies an object onto itself only when its metadata are written anew
                    self._files.cp_file(path, path, MetadataDirective="REPLACE")
        except NotFound:
            return False
        return True

    def _written(self, key: str) -> datetime:
        path = self._path(key)
        with _reading():
            return _modified(self._files.info(path))

    def _size(self, key: str) -> int:
        path = self._path(key)
        with _reading():
            return int(self._files.size(path))

    def _read(self, key: str) -> bytes:
        path = self._path(key)
        with _reading():
            return bytes(self._files.cat_file(path))

    def _read_part(self, key: str, start: int, stop: int) -> bytes:
        path = self._path(key)
        with _reading():
            return bytes(self._files.cat_file(path, start=start, end=stop))

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
        path = self._path(key)
        if self._on_disk:
            with source.open("rb") as data:
                self._write(path, data)
        else:
            self._upload(lambda: self._files.put_file(str(source), path))

    def _put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        if self._on_disk:
            self._write(path, BytesIO(data))
        else:
            self._upload(lambda: self._files.pipe_file(path, data))

    def _upload(self, send: Callable[[], object]) -> None:
        """A bucket shows an object once all of it has arrived."""
        try:
            send()
        except _FAULTS as error:
            raise PublishFailed(_why_not_stored(error)) from error

    def _write(self, path: str, data: IO[bytes]) -> None:
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

    def _remove(self, key: str) -> None:
        path = self._path(key)
        with suppress(NotFound), _reading():
            self._files.rm_file(path)

    def _list(self) -> list[StoredFile]:
        return [
            StoredFile(key, int(details["size"]), _modified(details))
            for key, details in self._walk().items()
            if _KEY.fullmatch(key)
        ]

    def _remove_leftovers(self) -> int:
        before = datetime.now(UTC) - _LEFT_AFTER
        found = [key for key, details in self._walk().items() if _is_leftover(key) and _modified(details) < before]
        for key in found:
            with suppress(NotFound), _reading():
                self._files.rm_file(f"{self._root}/{key}")
        return len(found)

    def _walk(self) -> dict[str, Mapping[str, Any]]:
        """What the driver says of each file, by its path under the root."""
        with _reading():
            found: Mapping[str, Mapping[str, Any]] = self._files.find(self._root, detail=True)
        return {path.removeprefix(f"{self._root}/"): details for path, details in found.items()}

    def _path(self, key: str) -> str:
        """Where the key's file lies. Raises InvalidInput when that is outside the store."""
        if _KEY.fullmatch(key) is None:
            raise InvalidInput("key", "is not the key of a stored file.")
        path = f"{self._root}/{key}"
        if self._on_disk and not _is_inside(Path(path), Path(self._root)):
            raise InvalidInput("key", "is not the key of a stored file.")
        return path


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _read_chunk(file: IO[bytes], left: int) -> bytes:
    with _reading():
        return file.read(min(_CHUNK_BYTES, left))


def _is_leftover(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(".part")


def _modified(details: Mapping[str, Any]) -> datetime:
    """Each driver has a name of its own for it."""
    moment = next(details[name] for name in ("mtime", "LastModified", "created") if name in details)
    return moment if isinstance(moment, datetime) else datetime.fromtimestamp(float(moment), UTC)


def _why_not_stored(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The media store is full: nothing was stored. Free space, then send the job again."
    return "The media store could not be written: nothing was stored."


@contextmanager
def _reading() -> Iterator[None]:
    """Turns what a file system raises into what the next step needs to know."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("This file is not in the media store.") from error
    except _FAULTS as error:
        raise RetryLater("The media store cannot be read at the moment.") from error
