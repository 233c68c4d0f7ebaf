"""Tokens for tests: good ones, and ones with any claim replaced."""

from __future__ import annotations

import json
import time
import warnings
from datetime import timedelta
from typing import Any, Final

import jwt
from pydantic import SecretStr

from tabario.tiers import Tier
from tabario.tokens.development import ISSUER, KEY_ID, mint_development_token
from tabario.tokens.sources import SharedSecret
from tabario.tokens.verifier import TokenVerifier

KEY: Final = "a development key of forty bytes, made up"
USER: Final = "7b0f6a52-8c3e-4b7e-9d5f-0d2a7c1e9f10"
OTHER_USER: Final = "11111111-2222-4333-8444-555555555555"


def now() -> int:
    """Unix time in whole seconds."""
    return int(time.time())


def token(*, user_id: str = USER, tier: Tier = Tier.STANDARD, lifetime: timedelta = timedelta(hours=1)) -> str:
    """A good development token."""
    return mint_development_token(SecretStr(KEY), user_id=user_id, tier=tier, lifetime=lifetime)


def development_verifier() -> TokenVerifier:
    """A verifier that trusts `KEY`."""
    return TokenVerifier([SharedSecret(issuer=ISSUER, secret=KEY.encode(), key_id=KEY_ID)])


def forge(*, key: Any = KEY, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:  # noqa: ANN401 - wrong types are the point
    """A token with some claims replaced; a claim that is None is left out. PyJWT's own scruples are set aside."""
    good = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": USER,
        "role": "authenticated",
        "iat": now(),
        "exp": now() + 3600,
    }
    payload = {name: value for name, value in {**good, **claims}.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keys that are too short
        return jwt.PyJWS().encode(
            json.dumps(payload).encode(),
            key,
            algorithm=algorithm,
            headers={"kid": KEY_ID} if headers is None else headers,
        )
