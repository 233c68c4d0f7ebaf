from __future__ import annotations

import re
from uuid import UUID

import pytest

from tabario.content import content_key, run_key

ALICE = "11111111-1111-1111-1111-111111111111"
BOB = "22222222-2222-2222-2222-222222222222"


def key(user: str = ALICE, kind: str = "image", **inputs: str | float) -> str:
    return content_key(kind, user, ".png", **inputs)


def test_the_same_inputs_have_the_same_key_in_any_order() -> None:
    assert key(prompt="a fox", seed=1) == key(seed=1, prompt="a fox")


def test_each_input_changes_the_key() -> None:
    keys = {
        key(prompt="a fox", seed=1),
        key(prompt="a fox", seed=2),
        key(prompt="a fox", seed="1"),
        key(prompt="a fox", model=1),
        key(prompt="a fox"),
        key(BOB, prompt="a fox"),
        key(kind="sketch", prompt="a fox"),
    }
    assert len(keys) == 7


def test_keys_hide_the_user_and_fit_the_store() -> None:
    job_id = UUID(int=7)
    for made in (key(prompt="../ü\x00"), run_key(ALICE, job_id, "film.mp4")):
        assert re.fullmatch(r"(content|runs)/[0-9a-f]{12}/[a-z0-9-]+/[a-z0-9]+\.(png|mp4)", made)
        assert ALICE not in made


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        key(guidance=float("nan"))
