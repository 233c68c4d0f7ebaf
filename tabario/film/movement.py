"""How a picture moves: the first motion that is seen on it, and what is left to excuse when there is none.

A sky that is the same in every column stands still under a horizontal pan, a plain wall under any motion. So a motion
is tried on a small copy of the picture, in the part of the frame in which the film is watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageChops, ImageStat

from tabario.film.motion import LONGEST_RETURN, Motion, motions_from, place
from tabario.film.stretches import WATCHED, Fault
from tabario.film.timeline import FPS
from tabario.formats import FrameSize

_SIZE: Final = (240, 200)  # pixels of a view
_STEP: Final = FPS // 5  # frames from one view to the next
_WITHIN: Final = 4  # steps; with the way to the next view less than the second that counts as frozen
_SEEN: Final = 0.6
"""Of 255: twice what counts as frozen. When two views differ by so much, one of them differs from any third by half."""

_DARK: Final = 36  # of 255; a little more than what counts as black in the film
_MOSTLY: Final = 0.9


@dataclass(frozen=True, slots=True)
class Movement:
    """How a picture moves in the film, and what the film of it may be without being at fault."""

    motion: Motion
    excuses: frozenset[Fault]


def choose_movement(look: Image.Image, motions: Iterable[Motion], frame: FrameSize, *, length: int) -> Movement:
    """The first of the motions that is seen in every second of the scene; where none is, the one that is seen most.

    `look` is the picture as `tabario.film.stills.look_of` gives it, `length` the frames that it is on screen.
    """
    best, most, best_views = None, -1.0, []
    for motion in motions:
        views = _views(look, motion, frame, length)
        seen = _least_change(views)
        if seen > most:
            best, most, best_views = motion, seen, views
        if seen >= _SEEN:
            break
    if best is None:
        raise ValueError("there is no motion to choose from")
    faults = ((Fault.BLACK, any(map(_is_dark, best_views))), (Fault.FROZEN, most < _SEEN))
    return Movement(best, frozenset(fault for fault, excused in faults if excused))


def choose_movements(looks: Iterable[tuple[Image.Image, int]], frame: FrameSize) -> list[Movement]:
    """How the pictures of a film move, each given with its length. Two in a row move alike only where they must."""
    chosen: list[Movement] = []
    for index, (look, length) in enumerate(looks):
        motions = motions_from(index, chosen[-1].motion if chosen else None)
        chosen.append(choose_movement(look, motions, frame, length=length))
    return chosen


def _views(look: Image.Image, motion: Motion, frame: FrameSize, length: int) -> list[Image.Image]:
    """What is watched of the picture, every fifth of a second until the movement repeats itself."""
    last = min(length - 1, LONGEST_RETURN + _WITHIN * _STEP)
    return [_view(look, motion, frame, length, on) for on in (*range(0, last, _STEP), last)]


def _view(look: Image.Image, motion: Motion, frame: FrameSize, length: int, on: int) -> Image.Image:
    side, x, y = place(motion, frame, length=length, on=on)
    scaled = (x * look.width, y * look.height, (x + side) * look.width, (y + WATCHED * side) * look.height)
    return look.resize(_SIZE, Image.Resampling.BILINEAR, box=scaled)


def _least_change(views: Sequence[Image.Image]) -> float:
    """How much changes, of 255, in the stretch in which least does."""
    stretches = (views[start : start + _WITHIN + 1] for start in range(max(1, len(views) - _WITHIN)))
    return min(max((_difference(one, other) for other in others), default=0.0) for one, *others in stretches)


def _difference(one: Image.Image, other: Image.Image) -> float:
    return ImageStat.Stat(ImageChops.difference(one, other)).mean[0]


def _is_dark(view: Image.Image) -> bool:
    return sum(view.histogram()[:_DARK]) >= _MOSTLY * view.width * view.height
