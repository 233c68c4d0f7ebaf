from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabario.errors import MergeFailed
from tabario.film.stills import Still
from tabario.film.timeline import FPS, count_frames, lay_out


def stills(lengths: list[float]) -> list[Still]:
    edges = [0.0, *accumulate(lengths)]
    return [Still(Path("picture.png"), start, end) for start, end in pairwise(edges)]


@given(st.lists(st.floats(0.3, 20), min_size=1, max_size=60))
def test_shots_fill_the_film_and_fades_lie_around_the_cuts(lengths: list[float]) -> None:
    scenes = stills(lengths)
    duration = scenes[-1].end
    shots = lay_out(scenes, duration)
    assert sum(shot.frames for shot in shots) == count_frames(duration)
    position = 0
    for scene, shot in zip(scenes, shots, strict=True):
        assert position + shot.fade / 2 == round(scene.start * FPS)
        assert shot.frames > shot.fade
        position += shot.frames
    assert all(before.on_screen == before.frames + after.fade for before, after in pairwise(shots))


def test_long_scenes_fade_in_eight_frames_and_short_ones_faster() -> None:
    assert [shot.fade for shot in lay_out(stills([2.0, 2.0, 0.3, 0.3]), 4.6)] == [0, 8, 4, 4]


def test_a_film_without_scenes_is_refused() -> None:
    with pytest.raises(MergeFailed, match="no scene"):
        lay_out([], 3.0)


def test_a_scene_of_no_frame_is_refused() -> None:
    with pytest.raises(MergeFailed, match="too short"):
        lay_out(stills([1.0, 0.001, 1.0]), 2.001)
