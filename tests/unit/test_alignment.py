from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabario.film.alignment import align
from tabario.waveform import Pause

scripts = st.lists(
    st.sampled_from(["word", "extraordinary", "3.50", "—", "so,", "end.", "今日は。明日", "🎉"]),
    min_size=1,
    max_size=60,
).map(" ".join)
pause_lists = st.lists(st.floats(min_value=0.05, max_value=5), max_size=30).map(
    lambda gaps: tuple(Pause(sum(gaps[: n * 2 + 1]), sum(gaps[: n * 2 + 2])) for n in range(len(gaps) // 2))
)


@given(scripts, pause_lists, st.floats(min_value=0.05, max_value=60))
def test_words_follow_each_other_inside_the_recording(script: str, pauses: tuple[Pause, ...], rest: float) -> None:
    duration = (pauses[-1].end if pauses else 0.0) + rest
    words = align(script, duration, pauses=pauses)
    assert "".join(word.text for word in words) == "".join(script.split())
    assert all(0 <= word.start <= word.end <= duration + 1e-6 for word in words)
    assert all(before.end <= after.start + 1e-6 and before.start < after.start for before, after in pairwise(words))


def test_without_pauses_longer_words_take_longer() -> None:
    short, long = align("so extraordinarily", 2.0)
    assert short.start == 0.0
    assert short.end == long.start < 0.7
    assert long.end == pytest.approx(2.0)


def test_a_pause_sets_the_sentences_apart() -> None:
    one, two, three, four = align("One two. Three four.", 3.0, pauses=[Pause(1.2, 1.8)])
    assert one.end == two.start
    assert two.end == pytest.approx(1.2)
    assert three.start == pytest.approx(1.8)
    assert four.end == pytest.approx(3.0)


def test_a_slow_sentence_does_not_push_the_next_one_away() -> None:
    words = align("Slow down. Run run run run.", 6.0, pauses=[Pause(3.0, 3.5)])
    assert words[1].end == pytest.approx(3.0)
    assert words[2].start == pytest.approx(3.5)


def test_silence_before_and_after_the_speech_belongs_to_no_word() -> None:
    words = align("One two three.", 4.0, pauses=[Pause(0.0, 0.5), Pause(3.0, 4.0)])
    assert words[0].start == pytest.approx(0.5)
    assert words[-1].end == pytest.approx(3.0)


def test_a_long_hesitation_within_a_sentence_does_not_end_it() -> None:
    words = align("A hesitant man said it. Then he left.", 6.0, pauses=[Pause(0.9, 1.5), Pause(3.6, 3.9)])
    assert words[4].end == pytest.approx(3.6)
    assert words[5].start == pytest.approx(3.9)


def test_a_recording_without_sound_still_gets_times() -> None:
    words = align("One two.", 2.0, pauses=[Pause(0.0, 2.0)])
    assert words[-1].end == pytest.approx(2.0)
