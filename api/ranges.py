"""The Range header of RFC 9110, for one range of bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException

_ONE_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` to `stop`, of which `stop` is not one."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The asked range of a film of `size` bytes, or None for the whole film.

    Several ranges, and units or forms that are not understood, are ignored, as the RFC allows. A range beyond the end
    raises HTTPException 416.
    """
    match = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match.groups()
    if first == "":
        return _checked(max(size - int(last), 0), size, size)
    if last != "" and int(last) < int(first):
        return None
    return _checked(int(first), min(int(last) + 1, size) if last else size, size)


def _checked(start: int, stop: int, size: int) -> ByteRange:
    if start >= stop:
        raise HTTPException(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"The film has {size} bytes; the range lies beyond them.",
            {"Content-Range": f"bytes */{size}"},
        )
    return ByteRange(start, stop)
