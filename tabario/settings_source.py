"""The one reader of the process's environment: how a group of settings is read from variables and from files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from tabario.errors import ConfigurationError
from tabario.secret_files import SUFFIX, expand, secret_of

T = TypeVar("T", bound=BaseSettings)


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets of a group that stand in files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """What the file of one field holds."""
        secret = SecretStr in (field.annotation, *get_args(field.annotation))
        value = secret_of(variable_name(self.settings_cls, field_name), os.environ) if secret else None
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values that were found, by field."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Group(BaseSettings):
    """Settings that belong together."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is no .env file of ours
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - files are named by variables
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then files."""
        return init_settings, env_settings, SecretFiles(settings_cls)


def variable_name(group: type[BaseSettings], field: str) -> str:
    """Name of the environment variable that a field of a settings group is read from."""
    alias = group.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias) if alias else f"{group.model_config.get('env_prefix', '')}{field}".upper()


def read_group(group: type[T]) -> T:
    """Reads one settings group. Raises ConfigurationError, naming each variable to mend."""
    try:
        return group()
    except ValidationError as error:
        sentences = []
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0]) if problem["loc"] else group.__name__
            variable = variable_name(group, name) if name in group.model_fields else name
            hint = group.model_fields[name].description if name in group.model_fields else None
            missing = problem["type"] == "missing"
            fault = "it is missing" if missing else problem["msg"].removeprefix("Value error, ")
            sentences.append(f"Set {variable}{f' ({hint})' if hint else ''}: {fault}.")
        raise ConfigurationError("\n".join(sentences)) from None


def expanded_environment() -> dict[str, str]:
    """The environment with the secrets that stand in files. Raises ConfigurationError."""
    return expand(os.environ)


def inherited_environment(*, without: tuple[str, ...]) -> dict[str, str]:
    """The environment for a child process: this one's, less the variables whose names begin so."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}


def is_set(variable: str) -> bool:
    """Whether a variable, or the file that stands for it, is given."""
    return bool(os.environ.get(variable) or os.environ.get(f"{variable}{SUFFIX}"))


def adopt(variables: Mapping[str, str]) -> None:
    """Sets variables for this process and its children, as if it had been started with them."""
    os.environ.update(variables)
