"""Checks that a picture which came from a server is one that may count."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

from PIL import Image, ImageStat

from tabario.errors import ImageFailed
from tabario.formats import FrameSize

BLACK_BELOW: Final = 8
"""Of 255. A broken decode gives plain zeros; a night scene has lights or at least noise well above this."""

UNREADABLE: Final = (
    OSError,  # unknown format or truncated
    SyntaxError,  # Pillow's word for a broken chunk
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for a picture that is none."""


def check_picture(data: bytes, size: FrameSize, *, black: bool = False) -> None:
    """Decodes the whole PNG. Raises ImageFailed when it is broken, of another size, or black, unless it may be.

    The size is compared before anything is decoded, so a small file cannot unfold into a huge picture. Takes some
    tens of milliseconds of CPU for a megapixel: call it in a thread.
    """
    try:
        with _opened(data) as image:
            image.verify()  # checksums; decoding alone does not look at them
        with _opened(data) as image:
            _check_size(image, size)
            brightest = ImageStat.Stat(image.convert("L")).extrema[0][1]
    except UNREADABLE as error:
        raise ImageFailed("ComfyUI delivered a picture that is broken or cut short.") from error
    if brightest < BLACK_BELOW and not black:
        raise ImageFailed("ComfyUI delivered a black picture; its model may have failed to decode it.")


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=("PNG",))


def _check_size(image: Image.Image, size: FrameSize) -> None:
    if image.size != size:
        raise ImageFailed(
            f"ComfyUI delivered a picture of {image.width}x{image.height} pixels instead of {size.width}x{size.height}."
        )
