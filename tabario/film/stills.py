"""The pictures of a film, made safe for ffmpeg: decoded by Pillow, upright, RGB, cropped to the frame's shape."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageChops, ImageOps, ImageStat

from tabario.errors import MergeFailed
from tabario.film.pictures import UNREADABLE
from tabario.film.stretches import Fault
from tabario.formats import FrameSize

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
PIXEL_LIMIT: Final = 64_000_000

_LOOK: Final = (240, 200)  # pixels
_DARK: Final = 36  # of 255; a little more than what counts as black in the film
_MOSTLY: Final = 0.9
_A_SECOND_OF_ZOOM: Final = 0.014  # of the side, at each edge
_UNSEEN: Final = 0.6  # of 255; a little more than what counts as frozen in the film


@dataclass(frozen=True, slots=True)
class Still:
    """A picture and when it is shown, in seconds from the start of the film. `end` is the next one's `start`."""

    path: Path
    start: float
    end: float


def prepare_picture(source: Path, destination: Path, shape: FrameSize) -> frozenset[Fault]:
    """Writes the largest middle part of the picture that has the shape of `shape`, as a PPM at the picture's own scale.

    PPM is large and costs no time to write or to read. Returns the faults that the picture excuses, see `excuses_of`.

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
    return excuses_of(shown)


def excuses_of(picture: Image.Image) -> frozenset[Fault]:
    """What a film of the picture may be without being at fault: black when it is dark, frozen when it is plain."""
    upper = picture.convert("L", dither=None).crop((0, 0, picture.width, max(1, picture.height // 2)))
    small = upper.resize(_LOOK, Image.Resampling.BOX)
    dark = sum(small.histogram()[:_DARK]) >= _MOSTLY * small.width * small.height
    left, top = round(_LOOK[0] * _A_SECOND_OF_ZOOM), round(_LOOK[1] * _A_SECOND_OF_ZOOM)
    nearer = small.resize(_LOOK, Image.Resampling.BILINEAR, box=(left, top, _LOOK[0] - left, _LOOK[1] - top))
    plain = ImageStat.Stat(ImageChops.difference(small, nearer)).mean[0] < _UNSEEN
    return frozenset(fault for fault, excused in ((Fault.BLACK, dark), (Fault.FROZEN, plain)) if excused)


def covering_box(size: tuple[int, int], shape: FrameSize) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest centred box inside `size` with the shape of `shape`."""
    width, height = size
    box_width = max(1, min(width, round(height * shape.width / shape.height)))
    box_height = max(1, min(height, round(width * shape.height / shape.width)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
