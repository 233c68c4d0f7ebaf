"""What a Range header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from api.ranges import ByteRange, parse_range

SIZE = 1024


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=0-99999", 0, 1024),
        ("bytes=-99999", 0, 1024),
        ("BYTES=1-2", 1, 3),
        (" bytes=1-2 ", 1, 3),
    ],
)
def test_range_is_cut_to_the_film(asked: str, start: int, stop: int) -> None:
    assert parse_range(asked, SIZE) == ByteRange(start, stop)


@pytest.mark.parametrize(
    "asked", [None, "", "bytes=", "bytes=-", "bytes=9-2", "bytes=a-b", "items=0-1", "bytes=0-1,5-6", "bytes=\u0661-"]
)
def test_what_is_not_understood_means_the_whole_film(asked: str | None) -> None:
    assert parse_range(asked, SIZE) is None


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0", "bytes=999999999999999999-"])
def test_range_beyond_the_end_cannot_be_satisfied(asked: str) -> None:
    with pytest.raises(HTTPException) as refusal:
        parse_range(asked, SIZE)
    assert refusal.value.status_code == 416
    assert refusal.value.headers == {"Content-Range": "bytes */1024"}


@given(st.from_regex(r"bytes=[0-9]{0,5}-[0-9]{0,5}", fullmatch=True), st.integers(1, 20_000))
def test_any_range_lies_inside_the_film(asked: str, size: int) -> None:
    try:
        part = parse_range(asked, size)
    except HTTPException:
        return
    assert part is None or 0 <= part.start < part.stop <= size
