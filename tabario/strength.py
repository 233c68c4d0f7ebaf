"""Whether a secret could be guessed, and the refusal to start with one."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from tabario.errors import ConfigurationError

MIN_LENGTH: Final = 16
MIN_DIFFERENT: Final = 8

_WORDS: Final = ("password", "changeme", "change-me", "change_me", "secret", "example", "default", "123456", "qwerty")


def weakness(secret: str) -> str | None:
    """What is wrong with a secret, fit for a message; None when nothing is."""
    if len(secret) < MIN_LENGTH:
        return f"it has {len(secret)} characters, at least {MIN_LENGTH} are needed; `openssl rand -hex 24` makes one"
    if len(set(secret)) < MIN_DIFFERENT:
        return "it repeats few characters; `openssl rand -hex 24` makes a better one"
    if any(word in secret.lower() for word in _WORDS):
        return "it contains a word that everybody tries; `openssl rand -hex 24` makes a better one"
    return None


def refuse_weak_secrets(redis_url: SecretStr, prefect_auth: SecretStr | None) -> None:
    """Raises ConfigurationError when Redis or Prefect would serve whoever can reach them."""
    redis = urlsplit(redis_url.get_secret_value()).password
    prefect = prefect_auth.get_secret_value().partition(":")[2] if prefect_auth else ""
    found = {
        "TABARIO_REDIS_PASSWORD, or the password in TABARIO_REDIS_URL": weakness(redis or ""),
        "PREFECT_API_AUTH_STRING, user:password": weakness(prefect),
    }
    if problems := [f"Set {variable}: {fault}." for variable, fault in found.items() if fault]:
        raise ConfigurationError("\n".join(problems))
