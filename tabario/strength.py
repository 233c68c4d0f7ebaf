"""Whether a secret could be guessed, and the refusal to start with one.

Judged are secrets that somebody chooses, or may choose: who guesses one reads films, forges tokens or commands Prefect.
Keys that a provider hands out and that only he can make (Supabase's secret key, that of the voice) are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from tabario.errors import ConfigurationError
from tabario.webhooks.signing import decode_secret

MIN_LENGTH: Final = 16
MIN_DIFFERENT: Final = 8
RANDOM: Final = "`openssl rand -hex 24` makes a good one"
RANDOM_WEBHOOK: Final = "`echo whsec_$(openssl rand -base64 32)` makes a good one"

_WORDS: Final = ("password", "changeme", "change-me", "change_me", "secret", "example", "default", "123456", "qwerty")


def weakness(secret: str, *, mend: str = RANDOM) -> str | None:
    """What is wrong with a secret and what mends it, fit for a message; None when nothing is."""
    if len(secret) < MIN_LENGTH:
        return f"it has {len(secret)} characters, at least {MIN_LENGTH} are needed; {mend}"
    if len(set(secret)) < MIN_DIFFERENT:
        return f"it repeats few characters; {mend}"
    if any(word in secret.lower() for word in _WORDS):
        return f"it contains a word that everybody tries; {mend}"
    return None


def weakness_of_credentials(pair: str) -> str | None:
    """The same of the password in user:password."""
    return weakness(pair.partition(":")[2])


def weakness_of_address(url: str) -> str | None:
    """The same of the password in an address."""
    return weakness(urlsplit(url).password or "")


def weakness_of_webhook_secret(secrets: str) -> str | None:
    """The same of the keys inside one or several whsec_..., with spaces between them."""
    try:
        keys = [decode_secret(secret) for secret in secrets.split()]
    except ValueError as error:
        return f"{error}; {RANDOM_WEBHOOK}"
    # Letters of base64 look strong whatever they stand for.
    faults = (weakness(key.decode("latin-1"), mend=RANDOM_WEBHOOK) for key in keys)
    return next((fault for fault in faults if fault), None)


def refuse(faults: Mapping[str, str | None]) -> None:
    """Raises ConfigurationError with a sentence for each variable or file that has a fault."""
    if problems := [f"Set {name}: {fault}." for name, fault in faults.items() if fault]:
        raise ConfigurationError("\n".join(problems))
