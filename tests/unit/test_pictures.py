from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tabario.errors import ImageFailed
from tabario.film.pictures import check_picture
from tabario.formats import FrameSize

SIZE = FrameSize(64, 48)


def png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def pattern(size: FrameSize = SIZE) -> Image.Image:
    return Image.frombytes("RGB", size, bytes(n * n % 251 for n in range(size.width * size.height * 3)))


def test_sound_picture_passes() -> None:
    check_picture(png(pattern()), SIZE)


def test_night_scene_with_a_single_light_passes() -> None:
    night = Image.new("RGB", SIZE, (2, 2, 4))
    night.putpixel((30, 20), (255, 240, 200))
    check_picture(png(night), SIZE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_black_picture_is_refused(mode: str) -> None:
    with pytest.raises(ImageFailed, match="black"):
        check_picture(png(Image.new(mode, SIZE)), SIZE)


def test_black_picture_may_be_asked_for() -> None:
    check_picture(png(Image.new("RGB", SIZE)), SIZE, black=True)


def test_wrong_size_is_refused_and_both_sizes_named() -> None:
    with pytest.raises(ImageFailed, match="32x24 pixels instead of 64x48"):
        check_picture(png(pattern(FrameSize(32, 24))), SIZE)


WHOLE = png(pattern())


@given(length=st.integers(0, len(WHOLE) - 13))
def test_picture_cut_short_anywhere_is_refused(length: int) -> None:
    with pytest.raises(ImageFailed, match="broken or cut short"):
        check_picture(WHOLE[:length], SIZE)


@given(position=st.integers(60, len(WHOLE) - 20), flip=st.integers(1, 255))
def test_changed_byte_in_the_pixels_is_noticed(position: int, flip: int) -> None:
    changed = bytearray(WHOLE)
    changed[position] ^= flip
    with pytest.raises(ImageFailed):
        check_picture(bytes(changed), SIZE)


@pytest.mark.parametrize("data", [b"", b"<html>Bad gateway</html>"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageFailed, match="broken"):
        check_picture(data, SIZE)


def test_decompression_bomb_is_refused_unopened() -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(ImageFailed):
        check_picture(bomb, SIZE)
