"""When each picture is seen, in whole frames. The voiceover is the clock: the film has round(duration * FPS) frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tabario.errors import MergeFailed
from tabario.film.stills import Still

FPS: Final = 30
GROUP_FRAMES: Final = 2 * FPS
"""Frames from one key frame to the next at most: a player can seek to every second second."""

_HALF_FADE: Final = 4  # frames on each side of a cut


@dataclass(frozen=True, slots=True)
class Shot:
    """A stretch of the film that begins with the cross-fade from the picture before.

    `frames` is its own length, `fade` how many of them still show the picture before, and `on_screen` adds the frames
    of the next shot in which this picture fades away.
    """

    index: int
    frames: int
    fade: int
    on_screen: int


def count_frames(duration: float) -> int:
    """Frames of a film that lasts `duration` seconds."""
    return round(duration * FPS)


def lay_out(stills: Sequence[Still], duration: float) -> list[Shot]:
    """The shots of a film. Cuts fall on the frame nearest to each still's start, so that errors do not add up.

    A fade lies evenly around its cut and is shorter between short scenes.
    Raises MergeFailed when there is no scene, or one is shorter than a frame.
    """
    if not stills:
        raise MergeFailed("The film has no scene.")
    cuts = [0, *(count_frames(still.start) for still in stills[1:]), count_frames(duration)]
    lengths = [end - start for start, end in pairwise(cuts)]
    if min(lengths) < 1:
        raise MergeFailed("A scene is too short to be seen.")
    halves = [0, *(min(_HALF_FADE, min(pair) // 4) for pair in pairwise(lengths)), 0]
    shots = []
    for index, (length, (half, next_half)) in enumerate(zip(lengths, pairwise(halves), strict=True)):
        frames = length + half - next_half
        shots.append(Shot(index, frames=frames, fade=2 * half, on_screen=frames + 2 * next_half))
    return shots
