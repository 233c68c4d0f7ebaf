from __future__ import annotations

from functools import cache
from itertools import pairwise
from types import CodeType

import pytest

from tabario.film.motion import Motion, Window, choose_motion, motions_from, place, window
from tabario.formats import FrameSize

FRAMES = [FrameSize(480, 854), FrameSize(720, 1280), FrameSize(1920, 1080)]
LENGTHS = [1, 9, 160, 700]


@cache
def compiled(view: Window) -> CodeType:
    return compile(f"{view.side}, {view.x}, {view.y}", "window", "eval")


def seen(view: Window, on: int) -> tuple[float, float, float]:
    """Side and corner of the window in one frame; the expressions mean the same in Python."""
    side, x, y = eval(compiled(view), {"on": on, "abs": abs, "mod": lambda a, b: a % b})  # noqa: S307 - our own text
    return side, x, y


@pytest.mark.parametrize("motion", Motion)
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_window_is_whole_pixels_inside_the_square_in_every_frame(
    motion: Motion, frame: FrameSize, length: int
) -> None:
    view = window(motion, frame, length=length)
    for on in range(length):
        side, x, y = seen(view, on)
        assert all(isinstance(value, int) for value in (side, x, y))
        assert min(x, y) >= 0
        assert max(x, y) + side <= view.square
        assert side >= view.square * 0.77


@pytest.mark.parametrize("motion", Motion)
def test_the_window_moves_by_the_same_step_in_each_frame(motion: Motion) -> None:
    view = window(motion, FRAMES[1], length=100)
    steps = {
        tuple(after - before for before, after in zip(seen(view, on), seen(view, on + 1), strict=True))
        for on in range(99)
    }
    assert len(steps) == 1
    assert steps != {(0, 0, 0)}


@pytest.mark.parametrize("motion", [Motion.ZOOM_IN, Motion.ZOOM_OUT])
def test_a_zoom_keeps_the_centre(motion: Motion) -> None:
    view = window(motion, FRAMES[1], length=100)
    centres = {(x + side / 2, y + side / 2) for side, x, y in (seen(view, on) for on in range(100))}
    assert centres == {(view.square / 2, view.square / 2)}


@pytest.mark.parametrize("motion", Motion)
def test_a_picture_that_fades_away_goes_on_where_it_was(motion: Motion) -> None:
    whole = window(motion, FRAMES[1], length=100)
    rest = window(motion, FRAMES[1], length=100, first=92)
    assert [seen(rest, on) for on in range(8)] == [seen(whole, on) for on in range(92, 100)]


def test_two_scenes_in_a_row_move_differently() -> None:
    motions = [choose_motion(index) for index in range(60)]
    assert all(before is not after for before, after in pairwise(motions))
    assert set(motions) == set(Motion)


@pytest.mark.parametrize("motion", Motion)
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_place_is_where_the_window_is(motion: Motion, frame: FrameSize, length: int) -> None:
    view = window(motion, frame, length=length)
    for on in range(length):
        found = place(motion, frame, length=length, on=on)
        assert tuple(value * view.square for value in found) == pytest.approx(seen(view, on))


@pytest.mark.parametrize("index", range(9))
@pytest.mark.parametrize("before", [None, *Motion])
def test_every_motion_may_be_tried_and_that_of_the_scene_before_comes_last(index: int, before: Motion | None) -> None:
    motions = motions_from(index, before)
    assert sorted(motions, key=list(Motion).index) == list(Motion)
    assert motions[0] is choose_motion(index) or before is choose_motion(index)
    assert before in {None, motions[-1]}
