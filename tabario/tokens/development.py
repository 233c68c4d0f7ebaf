"""Development tokens: signed with a key of one's own, honoured in development only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import jwt
from pydantic import SecretStr

from tabario.errors import ConfigurationError
from tabario.settings import AuthSettings, Environment
from tabario.tiers import Tier
from tabario.tokens.sources import SharedSecret, secret_bytes

ISSUER: Final = "tabario-development"
KEY_ID: Final = "tabario-development"
KEY_VARIABLE: Final = "TABARIO_DEVELOPMENT_KEY"


def development_source(auth: AuthSettings, environment: Environment) -> SharedSecret | None:
    """The source of development tokens, or None when no key is set.

    Raises ConfigurationError when a key is set outside development: whoever holds it could be anybody.
    """
    if auth.development_key is None:
        return None
    if environment is not Environment.DEVELOPMENT:
        raise ConfigurationError(
            f"Unset {KEY_VARIABLE}, or set TABARIO_ENVIRONMENT=development: development tokens are refused elsewhere."
        )
    secret = secret_bytes(auth.development_key.get_secret_value(), variable=KEY_VARIABLE)
    return SharedSecret(issuer=ISSUER, secret=secret, key_id=KEY_ID)


def mint_development_token(key: SecretStr, *, user_id: str, tier: Tier, lifetime: timedelta) -> str:
    """An access token with the claims of a Supabase one. `user_id` is a lower-case UUID.

    Raises ConfigurationError when the key is too short.
    """
    issued_at = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": user_id,
        "role": "authenticated",
        "iat": issued_at,
        "exp": issued_at + lifetime,
        "app_metadata": {"tier": tier.value},
    }
    secret = secret_bytes(key.get_secret_value(), variable=KEY_VARIABLE)
    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": KEY_ID})
