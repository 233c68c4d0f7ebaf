"""The pictures of a film, made safe for ffmpeg: decoded by Pillow, upright, RGB, cropped to the frame's shape."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from tabario.errors import MergeFailed
from tabario.formats import FrameSize

PIXEL_LIMIT: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Still:
    """A picture and when it is shown, in seconds from the start of the film. `end` is the next one's `start`."""

    path: Path
    start: float
    end: float


def prepare_picture(source: Path, destination: Path, shape: FrameSize) -> None:
    """Writes the largest middle part of the picture that has the shape of `shape`, as a PPM at the picture's own scale.

    PPM is large and costs no time to write or to read.

    Raises MergeFailed when it is no picture, damaged, or larger than 64 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            image = Image.open(source)
        with image:
            if image.width * image.height > PIXEL_LIMIT:
                raise MergeFailed("A picture is too large to be shown.")
            image.load()
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise MergeFailed("A picture is damaged or in an unknown format.") from None
    upright.crop(covering_box(upright.size, shape)).save(destination, format="PPM")


def covering_box(size: tuple[int, int], shape: FrameSize) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest centred box inside `size` with the shape of `shape`."""
    width, height = size
    box_width = max(1, min(width, round(height * shape.width / shape.height)))
    box_height = max(1, min(height, round(width * shape.height / shape.width)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
