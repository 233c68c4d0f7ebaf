from __future__ import annotations

import pytest

from flows.estimates import images_left, progress_at, share_left
from tabario.records import Stage


def test_progress_never_goes_back_from_stage_to_stage() -> None:
    seen = [progress_at(stage, share) for stage in Stage for share in (0, 0.5, 1)]

    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 1)


def test_pictures_are_estimated_at_the_pace_of_the_painted_ones() -> None:
    assert images_left(waiting=4, painted=2, elapsed=10) == 20


def test_adopted_pictures_say_nothing_about_the_pace() -> None:
    assert images_left(waiting=4, painted=0, elapsed=0.2) is None


def test_no_picture_is_left_when_none_waits() -> None:
    assert images_left(waiting=0, painted=0, elapsed=3) == 0


@pytest.mark.parametrize(("share", "left"), [(0, None), (0.25, 30), (1, 0)])
def test_the_rest_of_a_stage_takes_as_long_as_the_part_that_is_done(share: float, left: float | None) -> None:
    assert share_left(share=share, elapsed=10) == left
