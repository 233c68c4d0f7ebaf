"""The front door, and the webhook that tells the app of each job's end."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from tabario.settings.core import group, parts
from tabario.settings_source import Group
from tabario.webhooks.signing import decode_secret

_RATE = r"^[1-9][0-9]{0,6}/(second|minute|hour)$"


class ApiSettings(Group):
    """The front door."""

    model_config = group(env_prefix="TABARIO_API_")

    host: str = Field(default="127.0.0.1", description="address the front door listens on")
    port: int = Field(default=8000, ge=1, le=65535, description="port the front door listens on")
    public_url: str = Field(
        default="http://127.0.0.1:8000", description="address of the front door as its users see it, for links to films"
    )
    link_key: SecretStr | None = Field(
        default=None, min_length=32, description="signs links to films that need no token; no links when absent"
    )
    body_limit: int = Field(default=131_072, ge=1024, description="largest request body in bytes")
    rate: str = Field(
        default="60/minute",
        pattern=_RATE,
        description="requests of a user that change something, per second, minute or hour",
    )
    read_rate: str = Field(default="600/minute", pattern=_RATE, description="all other requests of a user")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="origins of browsers' apps, separated by commas"
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return parts(value)


class WebhookSettings(Group):
    """The webhook that tells the app of each job's end."""

    model_config = group(env_prefix="TABARIO_WEBHOOK_")

    secret: SecretStr | None = Field(
        default=None, description="whsec_... that signs webhooks; two with a space between them while it is changed"
    )
    url: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="https address that is told of each job's end; none when absent",
    )
    allow_private: bool = Field(default=False, description="true also posts to addresses of the private network")
    timeout: float = Field(default=15, gt=0, le=60, description="seconds that one attempt may take")

    @field_validator("secret")
    @classmethod
    def _can_sign(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in value.get_secret_value().split() if value is not None else ():
            decode_secret(secret)
        return value

    @field_validator("url")
    @classmethod
    def _goes_with_secret(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is not None and "secret" in info.data and info.data["secret"] is None:
            raise ValueError("it needs TABARIO_WEBHOOK_SECRET, which signs what is sent there")
        return url
