"""Tokens that must be turned away, and the ones that must not."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from tabario.errors import ConfigurationError, Forbidden, TabarioError, Unauthenticated
from tabario.settings import AuthSettings, Environment
from tabario.tiers import Tier
from tabario.tokens.development import ISSUER, KEY_ID, development_source, mint_development_token
from tabario.tokens.verifier import TokenVerifier
from tests.support.tokens import KEY, USER, development_verifier, forge, now, token

RSA_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())
RSA_PEM: Final = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(header: dict[str, Any]) -> str:
    return f"{segment(header)}.{segment({'sub': USER})}.c2ln"


def with_payload(text: bytes) -> str:
    return jwt.api_jws.encode(text, KEY.encode(), algorithm="HS256", headers={"kid": KEY_ID})


HOSTILE: Final[dict[str, Callable[[], str]]] = {
    "empty": lambda: "",
    "not a token": lambda: "open sesame",
    "two segments": lambda: token().rsplit(".", 1)[0],
    "four segments": lambda: f"{token()}.c2ln",
    "no signature": lambda: f"{token().rsplit('.', 1)[0]}.",
    "signature changed": lambda: f"{token().rsplit('.', 1)[0]}.{'A' * 43}",
    "payload changed": lambda: ".".join((token().split(".")[0], segment({"sub": USER}), token().split(".")[2])),
    "over 8 KiB": lambda: forge(padding="x" * 9_000),
    "8 KiB of brackets as header": lambda: f"{base64.urlsafe_b64encode(b'[' * 5_000).rstrip(b'=').decode()}.e30.c2ln",
    "header is no JSON": lambda: "bm90anNvbg.e30.c2ln",
    "header is a list": lambda: f"{segment([])}.e30.c2ln",
    "header is no UTF-8": lambda: "_____w.e30.c2ln",
    "line break at the end": lambda: f"{token()}\n",
    "padding kept": lambda: f"{token()}==",
    "alg none": lambda: f"{segment({'alg': 'none', 'kid': KEY_ID})}.{segment({'sub': USER})}.AA",
    "alg None with capitals": lambda: unsigned({"alg": "NoNe", "kid": KEY_ID}),
    "alg missing": lambda: unsigned({"kid": KEY_ID}),
    "alg is a list": lambda: unsigned({"alg": ["HS256"], "kid": KEY_ID}),
    "kid is a number": lambda: unsigned({"alg": "HS256", "kid": 1}),
    "kid missing": lambda: forge(headers={}),
    "kid of somebody else": lambda: forge(headers={"kid": "other"}),
    "kid is a path": lambda: forge(headers={"kid": "../../dev/null"}),
    "another key": lambda: forge(key="another key of thirty-two bytes!!"),
    "key of one zero byte": lambda: forge(key="\0"),
    "HS384 with the right key": lambda: forge(algorithm="HS384"),
    "HS512 with the right key": lambda: forge(algorithm="HS512"),
    "RS256 of our own": lambda: forge(key=RSA_KEY, algorithm="RS256"),
    "ES256 of our own": lambda: forge(key=EC_KEY, algorithm="ES256"),
    "crit": lambda: forge(headers={"kid": KEY_ID, "crit": ["exp"]}),
    "b64 false": lambda: unsigned({"alg": "HS256", "kid": KEY_ID, "b64": False, "crit": ["b64"]}),
    "wrong iss": lambda: forge(iss="https://evil.example"),
    "iss with a slash more": lambda: forge(iss=f"{ISSUER}/"),
    "iss is a list": lambda: forge(iss=[ISSUER]),
    "no iss": lambda: forge(iss=None),
    "wrong aud": lambda: forge(aud="anon"),
    "aud is a list": lambda: forge(aud=["authenticated", "other"]),
    "no aud": lambda: forge(aud=None),
    "no exp": lambda: forge(exp=None),
    "expired": lambda: forge(iat=now() - 7200, exp=now() - 3600),
    "exp is 1e30": lambda: forge(exp=1e30),
    "exp is Infinity": lambda: forge(exp=float("inf")),
    "exp is NaN": lambda: forge(exp=float("nan")),
    "exp is a string": lambda: forge(exp=str(now() + 600)),
    "exp is true": lambda: forge(exp=True),
    "lives for eight days": lambda: forge(exp=now() + 8 * 86400),
    "no iat": lambda: forge(iat=None),
    "iat in an hour": lambda: forge(iat=now() + 3600, exp=now() + 7200),
    "iat is -1e30": lambda: forge(iat=-1e30),
    "nbf in an hour": lambda: forge(nbf=now() + 3600),
    "no sub": lambda: forge(sub=None),
    "sub is no UUID": lambda: forge(sub="admin"),
    "sub is a list": lambda: forge(sub=[USER]),
    "sub ends in a line break": lambda: forge(sub=f"{USER}\n"),
    "sub in capitals": lambda: forge(sub=USER.upper()),
    "no role": lambda: forge(role=None),
    "is_anonymous is a string": lambda: forge(is_anonymous="false"),
    "client_id is a number": lambda: forge(client_id=1),
    "app_metadata is a list": lambda: forge(app_metadata=["premium"]),
    "payload is a list": lambda: with_payload(b"[]"),
    "payload is no JSON": lambda: with_payload(b"{"),
    "payload nests deeply": lambda: with_payload(b"[" * 5_000),
}

FORBIDDEN: Final[dict[str, Callable[[], str]]] = {
    "role service_role": lambda: forge(role="service_role"),
    "role anon": lambda: forge(role="anon"),
    "anonymous account": lambda: forge(is_anonymous=True),
    "third-party application": lambda: forge(client_id="another-app"),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_token_proves_nobody(make: Callable[[], str]) -> None:
    with pytest.raises(Unauthenticated):
        await development_verifier().verify(make())


@pytest.mark.parametrize("make", FORBIDDEN.values(), ids=FORBIDDEN.keys())
async def test_genuine_token_of_the_wrong_account_is_forbidden(make: Callable[[], str]) -> None:
    with pytest.raises(Forbidden):
        await development_verifier().verify(make())


async def test_public_key_does_not_serve_as_a_shared_secret() -> None:
    forged = f"{segment({'alg': 'HS256', 'kid': KEY_ID})}.{segment({'sub': USER})}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(forged.encode(), RSA_PEM)
    with pytest.raises(Unauthenticated):
        await development_verifier().verify(f"{forged}.{jwt.utils.base64url_encode(signature).decode()}")


@pytest.mark.parametrize("member", ["jku", "x5u", "jwk"])
async def test_key_that_a_token_brings_along_is_ignored(member: str) -> None:
    own_key = {"kty": "oct", "k": "AAAA", "kid": KEY_ID}
    brought = forge(key="the key that the token brings along", headers={"kid": KEY_ID, member: own_key})
    with pytest.raises(Unauthenticated):
        await development_verifier().verify(brought)


@pytest.mark.parametrize("tier", Tier)
async def test_development_token_proves_its_user_and_tier(tier: Tier) -> None:
    identity = await development_verifier().verify(token(tier=tier))
    assert (identity.user_id, identity.tier) == (USER, tier)
    assert identity.expires_at - identity.issued_at == timedelta(hours=1)


@pytest.mark.parametrize("metadata", [None, {}, {"tier": None}, {"tier": "gold"}, {"tier": ["premium"]}, {"plan": 1}])
async def test_tier_that_the_issuer_does_not_name_stays_open(metadata: object) -> None:
    assert (await development_verifier().verify(forge(app_metadata=metadata))).tier is None


async def test_tier_in_user_metadata_is_not_believed() -> None:
    identity = await development_verifier().verify(forge(app_metadata=None, user_metadata={"tier": "premium"}))
    assert identity.tier is None


async def test_clocks_may_differ_by_a_few_seconds() -> None:
    verifier = development_verifier()
    await verifier.verify(forge(iat=now() + 5))
    await verifier.verify(forge(iat=now() - 60, exp=now() - 5))


async def test_without_a_source_no_token_is_accepted() -> None:
    with pytest.raises(Unauthenticated):
        await TokenVerifier([]).verify(token())


def test_development_key_is_refused_in_production() -> None:
    auth = AuthSettings.model_validate({"development_key": KEY})
    with pytest.raises(ConfigurationError, match="TABARIO_DEVELOPMENT_KEY"):
        development_source(auth, Environment.PRODUCTION)


def test_short_development_key_is_refused() -> None:
    auth = AuthSettings.model_validate({"development_key": "k" * 31})
    with pytest.raises(ConfigurationError, match="32 bytes"):
        development_source(auth, Environment.DEVELOPMENT)


def test_no_token_is_minted_with_a_short_key() -> None:
    with pytest.raises(ConfigurationError, match="32 bytes"):
        mint_development_token(
            SecretStr("short"), user_id=str(uuid.uuid4()), tier=Tier.STANDARD, lifetime=timedelta(hours=1)
        )


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
async def test_refusal_does_not_repeat_the_token(make: Callable[[], str]) -> None:
    hostile = make()
    with pytest.raises(TabarioError) as refusal:
        await development_verifier().verify(hostile)
    assert len(hostile) < 20 or hostile not in str(refusal.value)
