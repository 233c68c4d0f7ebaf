"""The pictures of a film, made safe for ffmpeg: decoded by Pillow, upright, RGB, cropped to the frame's shape."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from tabario.errors import MergeFailed
from tabario.film.pictures import UNREADABLE
from tabario.formats import FrameSize

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
PIXEL_LIMIT: Final = 64_000_000

_LOOK: Final = 480  # pixels


@dataclass(frozen=True, slots=True)
class Still:
    """A picture and when it is shown, in seconds from the start of the film. `end` is the next one's `start`."""

    path: Path
    start: float
    end: float


def prepare_picture(source: Path, destination: Path, shape: FrameSize) -> Image.Image:
    """Writes the largest middle part of the picture that has the shape of `shape`, as a PPM at the picture's own scale.

    PPM is large and costs no time to write or to read. Returns a look at the picture, see `look_of`.

    Raises MergeFailed when it is no picture, damaged, or larger than 64 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            image = Image.open(source, formats=_FORMATS)
        with image:
            if image.width * image.height > PIXEL_LIMIT:
                raise MergeFailed("A picture is too large to be shown.")
            image.load()
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except UNREADABLE:
        raise MergeFailed("A picture is damaged or in an unknown format.") from None
    shown = upright.crop(covering_box(upright.size, shape))
    shown.save(destination, format="PPM")
    return look_of(shown)


def look_of(picture: Image.Image) -> Image.Image:
    """The picture as its motion sees it: grey, stretched to a square, and no larger than is needed to be watched."""
    return picture.resize((_LOOK, _LOOK), Image.Resampling.BOX).convert("L", dither=None)


def covering_box(size: tuple[int, int], shape: FrameSize) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest centred box inside `size` with the shape of `shape`."""
    width, height = size
    box_width = max(1, min(width, round(height * shape.width / shape.height)))
    box_height = max(1, min(height, round(width * shape.height / shape.width)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
