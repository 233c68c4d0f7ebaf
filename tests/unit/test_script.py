# ruff: noqa: RUF001 - the scripts are in many languages

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabario.script import Break, spoken_length, tokens


def sentences(script: str) -> list[str]:
    found, start = [], 0
    for token in tokens(script):
        if token.break_after is Break.SENTENCE:
            found.append(script[start : token.stop].strip())
            start = token.stop
    return found


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("One thing. Two things! Three?", ["One thing.", "Two things!", "Three?"]),
        ("Dr. Smith met J. R. Tolkien. They spoke.", ["Dr. Smith met J. R. Tolkien.", "They spoke."]),
        ("It costs 3.50 dollars, e.g. today. Cheap!", ["It costs 3.50 dollars, e.g. today.", "Cheap!"]),
        ('"Really?" she said. (Yes.) Go.', ['"Really?"', "she said.", "(Yes.)", "Go."]),
        ("1. Buy milk. 2. Drink it.", ["1. Buy milk.", "2. Drink it."]),
        ("It ended in 2024. Then peace.", ["It ended in 2024.", "Then peace."]),
        ("He waited... and left.", ["He waited... and left."]),
        ("No full stop\n\nA new paragraph", ["No full stop", "A new paragraph"]),
        ("今日は天気がいい。明日は、雨です！", ["今日は天気がいい。", "明日は、雨です！"]),
        ("「行こう。」と言った。", ["「行こう。」", "と言った。"]),
        ("¿Por qué? Porque sí.", ["¿Por qué?", "Porque sí."]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(script: str, expected: list[str]) -> None:
    assert sentences(script) == expected


def test_commas_dashes_and_line_ends_separate_clauses() -> None:
    breaks = [token.break_after for token in tokens("Slowly, then\nfaster — gone")]
    assert breaks == [Break.CLAUSE, Break.CLAUSE, Break.WORD, Break.CLAUSE, Break.SENTENCE]


def test_numbers_and_symbols_take_longer_to_say_than_letters() -> None:
    assert spoken_length("2024") > spoken_length("when")
    assert spoken_length("$") > spoken_length("s")
    assert spoken_length("…") == 0


@given(st.text())
def test_words_are_the_script_without_its_white_space(script: str) -> None:
    words = tokens(script)
    assert "".join(word.text for word in words) == "".join(script.split())
    assert all(script[word.start : word.stop] == word.text and word.weight > 0 for word in words)
    assert not words or words[-1].break_after is Break.SENTENCE
