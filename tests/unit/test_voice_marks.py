from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabario.clients.voice.marks import time_words
from tabario.waveform import Pause


def test_each_marked_word_starts_at_its_mark() -> None:
    words = time_words("One two three", [(0, 0.0), (4, 0.5), (8, 1.5)], 2.0, [])
    assert [(word.text, word.start, word.end) for word in words] == [
        ("One", 0.0, 0.5),
        ("two", 0.5, 1.5),
        ("three", 1.5, 2.0),
    ]


def test_words_under_one_mark_share_its_time() -> None:
    words = time_words("in the house", [(0, 0.0), (7, 0.7)], 1.0, [])
    assert words[0].end == words[1].start == pytest.approx(0.3)
    assert words[1].end == 0.7


def test_several_marks_in_one_word_count_once() -> None:
    words = time_words("it costs 3.50 now", [(0, 0.0), (3, 0.2), (9, 0.5), (10, 0.7), (10, 0.9), (14, 1.5)], 2.0, [])
    assert [word.start for word in words] == [0.0, 0.2, 0.5, 1.5]


def test_a_word_ends_before_the_pause_that_follows_it() -> None:
    words = time_words("One. Two.", [(0, 0.0), (5, 1.0)], 2.0, [Pause(0.6, 0.98), Pause(1.7, 2.0)])
    assert [word.end for word in words] == [0.6, 1.7]


def test_a_pause_inside_a_word_does_not_end_it() -> None:
    words = time_words("One. Two.", [(0, 0.0), (5, 1.0)], 2.0, [Pause(0.2, 0.5)])
    assert words[0].end == 1.0


def test_marks_that_go_back_are_left_out() -> None:
    words = time_words("One two three", [(0, 0.0), (8, 1.0), (4, 1.2)], 2.0, [])
    assert words[2].start == 1.0
    assert 0.0 < words[1].start < 1.0


@given(
    st.lists(st.sampled_from(["a", "word", "3.50", "—"]), min_size=1, max_size=20).map(" ".join),
    st.lists(st.tuples(st.integers(-5, 120), st.floats(-1, 12)), max_size=20),
)
def test_times_rise_whatever_the_engine_marks(script: str, marks: list[tuple[int, float]]) -> None:
    words = time_words(script, marks, 10.0, [])
    assert [word.text for word in words] == script.split()
    assert all(0.0 <= word.start < word.end <= 10.0 for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))
