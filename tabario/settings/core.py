"""What every process needs to know: Redis, Prefect, and how its settings are read."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from tabario.settings_source import Group

group = partial(SettingsConfigDict, extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True)


def parts(value: object) -> object:
    """What stands between the commas of a text."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Environment(StrEnum):
    """Development tokens are honoured in development only."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class CoreSettings(Group):
    """What every process needs to know."""

    model_config = group(env_prefix="TABARIO_")

    environment: Environment = Field(default=Environment.PRODUCTION, description="development or production")
    state_dir: Path = Field(default=Path(".tabario"), description="directory of the embedded stack's state")


class RedisSettings(Group):
    """Redis: the queue, job records and metrics."""

    model_config = group(env_prefix="TABARIO_REDIS_")

    password: SecretStr | None = Field(default=None, description="password of Redis, when the address holds none")
    url: SecretStr = Field(description="redis://:password@host:port/database")

    @field_validator("url")
    @classmethod
    def _with_password(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        password: SecretStr | None = info.data.get("password")
        if password is None:
            return url
        parts = urlsplit(url.get_secret_value())
        if parts.password is not None:
            raise ValueError("it holds a password, and TABARIO_REDIS_PASSWORD is set as well; keep one of them")
        netloc = (
            f"{parts.username or ''}:{quote(password.get_secret_value(), safe='')}@{parts.netloc.rpartition('@')[2]}"
        )
        return SecretStr(parts._replace(netloc=netloc).geturl())


class PrefectSettings(Group):
    """The Prefect API, under the names that Prefect itself reads."""

    model_config = group(env_prefix="PREFECT_API_")

    url: str = Field(description="address of the Prefect API, ending in /api")
    auth_string: SecretStr | None = Field(default=None, description="user:password of the Prefect API")
    one_writer: bool = Field(
        default=False,
        validation_alias=AliasChoices("TABARIO_PREFECT_ONE_WRITER"),
        description="send one write at a time; needed when Prefect keeps its data in SQLite",
    )
