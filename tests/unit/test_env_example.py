from __future__ import annotations

import re
from pathlib import Path

from pydantic_settings import BaseSettings

from tabario import settings
from tabario.settings_source import variable_name

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()


def groups() -> list[type[BaseSettings]]:
    return [
        kind
        for kind in vars(settings).values()
        if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind is not BaseSettings
    ]


def test_env_example_lists_every_setting_with_its_meaning_and_nothing_else() -> None:
    described = dict(re.findall(r"^# (.+)\n#? ?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    expected = {
        field.description: variable_name(group, name)
        for group in groups()
        for name, field in group.model_fields.items()
    }
    assert {variable: meaning for meaning, variable in described.items()} == {
        variable: meaning for meaning, variable in expected.items()
    }


def test_no_two_settings_share_a_variable() -> None:
    variables = [variable_name(group, name) for group in groups() for name in group.model_fields]
    assert sorted(variables) == sorted(set(variables))
