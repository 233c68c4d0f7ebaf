"""A reader of MP4 files: what players will find in them, without decoding anything."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tabario.errors import MergeFailed

_HEADER: Final = 8
_MOVIE_LIMIT: Final = 64 * 1024 * 1024  # no film of ours has an index this large


@dataclass(frozen=True, slots=True)
class Track:
    """One track. `duration` is in seconds after the edit list; `codec` is the four-character code, such as avc1."""

    kind: str
    codec: str
    duration: float
    sample_count: int
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class Mp4Facts:
    """What an MP4 holds. `faststart` means that a player can begin before the whole file is there."""

    duration: float
    faststart: bool
    tracks: tuple[Track, ...]

    @property
    def video(self) -> Track:
        """The first video track. Raises MergeFailed when there is none."""
        return self._first("vide", "picture")

    @property
    def audio(self) -> Track:
        """The first audio track. Raises MergeFailed when there is none."""
        return self._first("soun", "sound")

    def _first(self, kind: str, name: str) -> Track:
        for track in self.tracks:
            if track.kind == kind:
                return track
        raise MergeFailed(f"The film has no {name}.")


def read_mp4(path: Path) -> Mp4Facts:
    """Reads the boxes of an MP4 file. Raises MergeFailed when it is no complete MP4."""
    try:
        with path.open("rb") as file:
            movie, faststart = _find_movie(file, path.stat().st_size)
        return _read_movie(movie, faststart=faststart)
    except (struct.error, KeyError, IndexError, ZeroDivisionError, UnicodeDecodeError):
        raise MergeFailed("The film is not a complete MP4.") from None


def _find_movie(file: BinaryIO, size: int) -> tuple[bytes, bool]:
    """The movie box, and whether it stands before the media data."""
    movie, faststart, data_seen = None, False, False
    position = 0
    while position < size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(_HEADER))
        header = _HEADER
        if length == 1:
            length, header = struct.unpack(">Q", file.read(8))[0], _HEADER + 8
        elif length == 0:
            length = size - position
        if length < header or position + length > size:
            raise MergeFailed("The film is not a complete MP4.")
        if kind == b"moov":
            if length > _MOVIE_LIMIT:
                raise MergeFailed("The film's index is implausibly large.")
            movie, faststart = file.read(length - header), not data_seen
        data_seen = data_seen or kind == b"mdat"
        position += length
    if movie is None or not data_seen:
        raise MergeFailed("The film is not a complete MP4.")
    return movie, faststart


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    position = 0
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if length < _HEADER:
            raise MergeFailed("The film is not a complete MP4.")
        yield kind.decode("latin-1"), data[position + _HEADER : position + length]
        position += length


def _read_movie(movie: bytes, *, faststart: bool) -> Mp4Facts:
    boxes = list(_boxes(movie))
    timescale, duration = _movie_times(dict(boxes)["mvhd"])
    tracks = tuple(_read_track(data, timescale) for kind, data in boxes if kind == "trak")
    return Mp4Facts(duration / timescale, faststart, tracks)


def _movie_times(header: bytes) -> tuple[int, int]:
    """Timescale and duration of the movie; the box has a 32-bit and a 64-bit form."""
    timescale, duration = (
        struct.unpack_from(">IQ", header, 20) if header[0] == 1 else struct.unpack_from(">II", header, 12)
    )
    return int(timescale), int(duration)


def _track_duration(header: bytes) -> int:
    (duration,) = struct.unpack_from(">Q", header, 28) if header[0] == 1 else struct.unpack_from(">I", header, 20)
    return int(duration)


def _read_track(data: bytes, timescale: int) -> Track:
    track = dict(_boxes(data))
    media = dict(_boxes(track["mdia"]))
    table = dict(_boxes(dict(_boxes(media["minf"]))["stbl"]))
    kind = media["hdlr"][8:12].decode("ascii")
    codec, entry = next(_boxes(table["stsd"][8:]))
    duration = _track_duration(track["tkhd"]) / timescale
    (sample_count,) = struct.unpack_from(">I", table["stsz"], 8)
    if kind == "vide":
        width, height = struct.unpack_from(">HH", entry, 24)
        return Track(kind, codec, duration, sample_count, width=width, height=height)
    if kind == "soun":
        channels, _, _, sample_rate = struct.unpack_from(">HHII", entry, 16)
        return Track(kind, codec, duration, sample_count, sample_rate=sample_rate >> 16, channels=channels)
    return Track(kind, codec, duration, sample_count)
