from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tabario.film.alignment import align
from tabario.film.plan import LONGEST_SECONDS, SHORTEST_SECONDS, change_scenes, plan_scenes
from tabario.jobs import JobSpec, SceneChange, ScenePrompt
from tabario.scenes import Scene, Word
from tabario.script import tokens
from tabario.styles import STYLES

USER = "11111111-1111-1111-1111-111111111111"
OTHER_USER = "22222222-2222-2222-2222-222222222222"
SECONDS_PER_WORD = 0.4
RATHER_THAN_CUT = 0.16  # seconds beyond the bounds that a scene may last to keep a sentence whole


def plan(
    script: str, *prompts: str, seconds_per_word: float = SECONDS_PER_WORD, style: str = "default", user: str = USER
) -> tuple[Scene, ...]:
    spec = JobSpec(
        script=script,
        caption="",
        image_style=style,
        prompts=tuple(ScenePrompt(image_prompt=prompt) for prompt in prompts),
    )
    words = tuple(
        Word(text=token.text, start=n * seconds_per_word, end=(n + 1) * seconds_per_word)
        for n, token in enumerate(tokens(spec.script))
    )
    return plan_scenes(spec, words, len(words) * seconds_per_word, user_id=user)


def sentence(words: int) -> str:
    return " ".join(["Word", *["word"] * (words - 1)]) + "."


scripts = st.lists(
    st.lists(st.sampled_from(["a", "word", "extraordinary", "3.50", "—", "Dr.", "so,", "今日は。", "🎉"]), max_size=30),
    max_size=12,
).map(lambda parts: "Start " + ". ".join(" ".join(part) for part in parts))
durations = st.floats(min_value=0.05, max_value=600)


def assert_covers(scenes: tuple[Scene, ...], script: str, duration: float) -> None:
    assert [scene.index for scene in scenes] == list(range(1, len(scenes) + 1))
    assert scenes[0].start == 0.0
    assert scenes[-1].end == duration
    assert all(before.end == after.start for before, after in pairwise(scenes))
    assert all(scene.end > scene.start and scene.text for scene in scenes)
    assert "".join("".join(scene.text.split()) for scene in scenes) == "".join(script.split())
    assert all(0 <= scene.seed < 2**32 for scene in scenes)


@given(scripts, durations)
def test_scenes_cover_the_film_and_every_word_once(script: str, duration: float) -> None:
    spec = JobSpec(script=script, caption="")
    scenes = plan_scenes(spec, align(spec.script, duration), duration, user_id=USER)
    assert_covers(scenes, spec.script, duration)


@given(scripts, durations, st.integers(min_value=1, max_value=60))
def test_explicit_prompts_make_as_many_scenes(script: str, duration: float, count: int) -> None:
    words = align(script.strip(), duration)
    prompts = tuple(ScenePrompt(image_prompt=f"prompt {n}") for n in range(min(count, len(words))))
    spec = JobSpec(script=script, caption="", prompts=prompts)
    scenes = plan_scenes(spec, words, duration, user_id=USER)
    assert len(scenes) == len(prompts)
    assert_covers(scenes, spec.script, duration)


def test_more_prompts_than_words_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="prompts"):
        JobSpec(script="Two words", caption="", prompts=tuple(ScenePrompt(image_prompt="a") for _ in range(3)))


@given(st.lists(st.integers(min_value=3, max_value=60), min_size=3, max_size=30))
def test_scenes_of_ordinary_speech_last_a_pleasant_time(lengths: list[int]) -> None:
    scenes = plan(" ".join(sentence(length) for length in lengths))
    lengths_seconds = [scene.end - scene.start for scene in scenes]
    assert min(lengths_seconds) > SHORTEST_SECONDS - RATHER_THAN_CUT
    assert max(lengths_seconds) < LONGEST_SECONDS + RATHER_THAN_CUT


@given(st.lists(st.floats(min_value=0, max_value=20), min_size=8, max_size=8))
def test_words_at_the_same_moment_make_no_empty_scene(starts: list[float]) -> None:
    words = [Word(text="word", start=start, end=start) for start in sorted(starts)]
    spec = JobSpec(script=" ".join(["word."] * 8), caption="")
    assert_covers(plan_scenes(spec, words, 20.0, user_id=USER), spec.script, 20.0)


def test_sentences_of_good_length_are_a_scene_each() -> None:
    scenes = plan(" ".join(sentence(12) for _ in range(4)))
    assert [scene.text for scene in scenes] == [sentence(12)] * 4


def test_short_sentences_share_a_scene() -> None:
    scenes = plan(" ".join(sentence(3) for _ in range(8)))
    assert [scene.text for scene in scenes] == [" ".join([sentence(3)] * 4)] * 2


def test_a_long_sentence_is_split_at_a_clause() -> None:
    first, second = (
        "This is the first half of a sentence that goes on,",
        "and this is the other half of it until its end.",
    )
    assert [scene.text for scene in plan(f"{first} {second}", seconds_per_word=0.45)] == [first, second]


def test_a_short_script_is_one_scene() -> None:
    assert [scene.text for scene in plan("Hello.")] == ["Hello."]


def test_scenes_begin_with_a_word() -> None:
    scenes = plan(" ".join(sentence(n) for n in (7, 11, 5, 23)))
    assert all(
        scene.start / SECONDS_PER_WORD == pytest.approx(round(scene.start / SECONDS_PER_WORD)) for scene in scenes
    )


def test_explicit_scenes_end_with_a_sentence_that_is_near() -> None:
    scenes = plan(f"{sentence(9)} {sentence(11)} {sentence(10)}", "one", "two", "three")
    assert [scene.text for scene in scenes] == [sentence(9), sentence(11), sentence(10)]


def test_explicit_scenes_share_one_sentence_evenly() -> None:
    scenes = plan(sentence(12), "one", "two", "three")
    assert [len(scene.text.split()) for scene in scenes] == [4, 4, 4]


def test_explicit_prompts_get_the_style_too() -> None:
    (scene,) = plan("A few words.", "a red fox", style="anime")
    assert scene.image_prompt == f"a red fox, {STYLES['anime'].prompt}"


def test_spoken_words_become_a_clean_prompt() -> None:
    (scene,) = plan("“Look,   a fox!” 🦊", style="photo")
    assert scene.image_prompt == f"Look, a fox, {STYLES['photo'].prompt}"


def test_seeds_are_the_same_for_the_same_scene_and_differ_otherwise() -> None:
    script = " ".join([sentence(12)] * 2)
    first, second = plan(script)
    assert plan(script) == (first, second)
    seeds = {first.seed, second.seed, plan(script, user=OTHER_USER)[0].seed, plan(script, style="anime")[0].seed}
    assert len(seeds) == 4


def test_caller_chooses_the_seed_of_a_scene_and_of_all_others() -> None:
    script = " ".join([sentence(12)] * 2)

    def seeds(**changes: Any) -> list[int]:  # noqa: ANN401 - fields of the spec
        spec = JobSpec.model_validate({"script": script, "caption": "", **changes})
        words = tuple(Word(text=token.text, start=n, end=n + 1) for n, token in enumerate(tokens(spec.script)))
        return [scene.seed for scene in plan_scenes(spec, words, len(words), user_id=USER)]

    prompts: list[dict[str, Any]] = [{"image_prompt": "a fox"}, {"image_prompt": "an owl"}]
    usual = seeds(prompts=prompts)
    other = seeds(prompts=prompts, seed=1)
    assert len({*usual, *other}) == 4
    assert seeds(prompts=prompts, seed=1) == other
    assert seeds(prompts=[{**prompts[0], "seed": 7}, prompts[1]], seed=1) == [7, other[1]]


def test_changed_scene_has_another_seed_and_prompt_in_the_same_style() -> None:
    script = " ".join([sentence(12)] * 3)
    spec = JobSpec(script=script, caption="", image_style="photo")
    scenes = plan(script, style="photo")
    changed = change_scenes(scenes, spec, {1: SceneChange(seed=5), 3: SceneChange(seed=6, image_prompt="a fox")})
    assert changed[1] == scenes[1]
    assert (changed[0].seed, changed[0].image_prompt) == (5, scenes[0].image_prompt)
    assert (changed[2].seed, changed[2].image_prompt) == (6, f"a fox, {STYLES['photo'].prompt}")
