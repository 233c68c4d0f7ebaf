"""Tokens of a Supabase project, against the keys that a real server publishes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr
from starlette.responses import Response

from tabario.errors import ConfigurationError, RetryLater, Unauthenticated
from tabario.settings import AuthSettings
from tabario.tokens.development import ISSUER as DEVELOPMENT_ISSUER
from tabario.tokens.jwks import FRESH_SECONDS, LARGEST_ANSWER, STALE_SECONDS, UNKNOWN_KEY_SECONDS, PublishedKeys
from tabario.tokens.supabase import ProjectKeys, supabase_sources
from tabario.tokens.verifier import TokenVerifier
from tests.support.issuer import OTHER_KEY, PRIVATE_KEYS, Issuer, issuer_running, public_key
from tests.support.tokens import USER, forge

LEGACY_SECRET: Final = "a legacy secret of forty bytes, made up!"


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuer_running() as running:
        yield running


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
async def verifier(issuer: Issuer, clock: Seconds) -> AsyncIterator[TokenVerifier]:
    address = f"{issuer.url}/auth/v1"
    keys = PublishedKeys(f"{address}/.well-known/jwks.json", monotonic=clock)
    opened = TokenVerifier([ProjectKeys(address, keys)])
    yield opened
    await opened.close()


def signed(issuer: Issuer, key_id: str = "ES256", **changes: Any) -> str:  # noqa: ANN401 - any claim
    """A token of the project, with some parts replaced."""
    parts: dict[str, Any] = {
        "key": PRIVATE_KEYS.get(key_id),
        "algorithm": key_id,
        "headers": {"kid": key_id},
        "iss": f"{issuer.url}/auth/v1",
    }
    return forge(**{**parts, **changes})


def pem(key: Any) -> str:  # noqa: ANN401 - any private key
    public = key.public_key()
    return str(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    )


def hmac_signed(issuer: Issuer, secret: str, **headers: object) -> str:
    """What PyJWT refuses to make: HS256 with a public key as the secret."""
    head = {"alg": "HS256", "kid": "ES256", **headers}
    claims = jwt.decode(signed(issuer), options={"verify_signature": False})
    segments = [jwt.utils.base64url_encode(json.dumps(part).encode()).decode() for part in (head, claims)]
    message = ".".join(segments)
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        message.encode(), secret.encode()
    )
    return f"{message}.{jwt.utils.base64url_encode(signature).decode()}"


def with_header(token: str, **header: str) -> str:
    """The token under another header, which its signature does not cover."""
    return ".".join((jwt.utils.base64url_encode(json.dumps(header).encode()).decode(), *token.split(".")[1:]))


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
async def test_token_signed_with_a_published_key_proves_its_user(
    issuer: Issuer, verifier: TokenVerifier, algorithm: str
) -> None:
    identity = await verifier.verify(signed(issuer, algorithm, app_metadata={"tier": "premium"}))
    assert (identity.user_id, identity.tier) == (USER, "premium")


HOSTILE: Final[dict[str, Callable[[Issuer], str]]] = {
    "same key id, other key": lambda issuer: signed(issuer, key=OTHER_KEY),
    "key id that nobody knows": lambda issuer: signed(issuer, headers={"kid": "nobody's"}),
    "no key id": lambda issuer: signed(issuer, headers={}),
    "empty key id": lambda issuer: signed(issuer, headers={"kid": ""}),
    "key id is a path": lambda issuer: signed(issuer, headers={"kid": "../../../etc/passwd"}),
    "key of another algorithm": lambda issuer: signed(issuer, headers={"kid": "RS256"}),
    "PEM as HMAC secret": lambda issuer: hmac_signed(issuer, pem(PRIVATE_KEYS["ES256"])),
    "JWK as HMAC secret": lambda issuer: hmac_signed(issuer, json.dumps(public_key("ES256"))),
    "brings its own address of keys": lambda issuer: signed(
        issuer, key=OTHER_KEY, headers={"kid": "mine", "jku": f"{issuer.url}/mine.json"}
    ),
    "brings its own key": lambda issuer: signed(
        issuer, key=OTHER_KEY, headers={"kid": "mine", "jwk": public_key("ES256", private_key=OTHER_KEY)}
    ),
    "brings its own key under a known id": lambda issuer: signed(
        issuer, key=OTHER_KEY, headers={"kid": "ES256", "jwk": public_key("ES256", private_key=OTHER_KEY)}
    ),
    "certificate address": lambda issuer: signed(issuer, key=OTHER_KEY, headers={"kid": "x", "x5u": issuer.url}),
    "critical extension": lambda issuer: signed(issuer, headers={"kid": "ES256", "crit": ["exp"], "exp": 1}),
    "another project": lambda issuer: signed(issuer, iss="https://another.supabase.example/auth/v1"),
    "issuer with a slash more": lambda issuer: signed(issuer, iss=f"{issuer.url}/auth/v1/"),
    "the development issuer": lambda issuer: signed(issuer, iss=DEVELOPMENT_ISSUER),
    "wrong aud": lambda issuer: signed(issuer, aud="anon"),
    "expired": lambda issuer: signed(issuer, iat=1, exp=2),
    "exp is 1e30": lambda issuer: signed(issuer, exp=1e30),
    "ES384": lambda issuer: with_header(signed(issuer), kid="ES256", alg="ES384"),
    "PS256 with the RSA key": lambda issuer: signed(issuer, "RS256", algorithm="PS256"),
    "unsigned": lambda issuer: f"{signed(issuer).rsplit('.', 1)[0]}.AA",
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_token_proves_nobody(
    issuer: Issuer, verifier: TokenVerifier, make: Callable[[Issuer], str]
) -> None:
    with pytest.raises(Unauthenticated):
        await verifier.verify(make(issuer))


UNUSABLE: Final[dict[str, Any]] = {
    "for encryption": public_key("ES256", use="enc"),
    "a shared secret": {"kty": "oct", "kid": "ES256", "alg": "HS256", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
    "without an id": {name: value for name, value in public_key("ES256").items() if name != "kid"},
    "of an unknown kind": {"kty": "magic", "kid": "ES256"},
    "of another curve": {**public_key("ES256"), "crv": "P-999"},
    "no object": "ES256",
}


@pytest.mark.parametrize("entry", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_unusable_entry_of_a_key_set_serves_nobody_and_spoils_no_other(
    issuer: Issuer, verifier: TokenVerifier, entry: object
) -> None:
    issuer.keys = [entry, public_key("RS256")]
    with pytest.raises(Unauthenticated):
        await verifier.verify(signed(issuer))
    assert (await verifier.verify(signed(issuer, "RS256"))).user_id == USER


async def test_project_without_published_keys_refuses_their_tokens(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.keys = []
    with pytest.raises(Unauthenticated):
        await verifier.verify(signed(issuer))


async def test_tokens_at_once_share_one_fetch(issuer: Issuer, verifier: TokenVerifier) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(verifier.verify, signed(issuer))
    assert issuer.asked == 1


async def test_new_key_is_fetched_when_a_token_names_it(
    issuer: Issuer, verifier: TokenVerifier, clock: Seconds
) -> None:
    await verifier.verify(signed(issuer))
    issuer.keys.append(public_key("ES256", private_key=OTHER_KEY, kid="new"))
    clock.now += UNKNOWN_KEY_SECONDS
    assert (await verifier.verify(signed(issuer, key=OTHER_KEY, headers={"kid": "new"}))).user_id == USER


async def test_made_up_key_ids_cause_no_flood_of_fetches(
    issuer: Issuer, verifier: TokenVerifier, clock: Seconds
) -> None:
    await verifier.verify(signed(issuer))
    for number in range(20):
        clock.now += UNKNOWN_KEY_SECONDS / 20
        with pytest.raises(Unauthenticated):
            await verifier.verify(signed(issuer, headers={"kid": f"made-up-{number}"}))
    assert issuer.asked == 2


async def test_withdrawn_key_counts_no_more_once_the_keys_were_fetched_again(
    issuer: Issuer, verifier: TokenVerifier, clock: Seconds
) -> None:
    await verifier.verify(signed(issuer))
    issuer.keys = [public_key("RS256")]
    clock.now += FRESH_SECONDS + 1
    await verifier.verify(signed(issuer))  # what is a little old still counts, and is fetched anew meanwhile
    with anyio.fail_after(10):
        while True:
            try:
                await verifier.verify(signed(issuer))
            except Unauthenticated:
                return
            await anyio.lowlevel.checkpoint()


async def test_empty_set_takes_no_good_key_away(issuer: Issuer, verifier: TokenVerifier, clock: Seconds) -> None:
    await verifier.verify(signed(issuer))
    issuer.keys = []
    clock.now += UNKNOWN_KEY_SECONDS
    with pytest.raises(Unauthenticated):
        await verifier.verify(signed(issuer, headers={"kid": "new"}))
    assert issuer.asked == 2
    assert (await verifier.verify(signed(issuer))).user_id == USER


async def test_known_keys_outlive_an_outage_for_an_hour(
    issuer: Issuer, verifier: TokenVerifier, clock: Seconds
) -> None:
    await verifier.verify(signed(issuer))
    issuer.breaks()
    clock.now += STALE_SECONDS - 1
    assert (await verifier.verify(signed(issuer))).user_id == USER
    clock.now += 10
    with pytest.raises(RetryLater):
        await verifier.verify(signed(issuer))


async def test_issuer_that_comes_back_is_asked_again(issuer: Issuer, verifier: TokenVerifier, clock: Seconds) -> None:
    issuer.breaks()
    with pytest.raises(RetryLater):
        await verifier.verify(signed(issuer))
    issuer.reply = None
    clock.now += 6
    assert (await verifier.verify(signed(issuer))).user_id == USER


ANSWERS: Final[dict[str, Response]] = {
    "not JSON": Response("<html>"),
    "a list": Response("[]"),
    "no keys": Response('{"keys": {}}'),
    "too large": Response(json.dumps({"keys": [], "filler": "x" * LARGEST_ANSWER})),
    "not found": Response(status_code=404),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_answer_that_is_no_key_set_is_an_outage(
    issuer: Issuer, verifier: TokenVerifier, answer: Response
) -> None:
    issuer.reply = answer
    with pytest.raises(RetryLater):
        await verifier.verify(signed(issuer))


async def test_keys_are_not_fetched_from_where_the_issuer_points(issuer: Issuer, verifier: TokenVerifier) -> None:
    async with issuer_running() as other:
        issuer.redirects(f"{other.url}/auth/v1/.well-known/jwks.json")
        with pytest.raises(RetryLater):
            await verifier.verify(signed(issuer))
        assert other.asked == 0


async def test_legacy_secret_counts_only_where_it_is_set(issuer: Issuer) -> None:
    token = signed(issuer, key=LEGACY_SECRET, algorithm="HS256", headers={})
    address = {"supabase_url": issuer.url}
    without = TokenVerifier(supabase_sources(AuthSettings.model_validate(address)))
    with pytest.raises(Unauthenticated):
        await without.verify(token)
    settings = AuthSettings.model_validate({**address, "supabase_jwt_secret": SecretStr(LEGACY_SECRET)})
    with_secret = TokenVerifier(supabase_sources(settings))
    assert (await with_secret.verify(token)).user_id == USER
    assert (await with_secret.verify(signed(issuer))).user_id == USER
    await with_secret.close()


def test_short_legacy_secret_is_refused() -> None:
    settings = AuthSettings.model_validate(
        {"supabase_url": "https://project.example", "supabase_jwt_secret": SecretStr("short")}
    )
    with pytest.raises(ConfigurationError, match="SUPABASE_JWT_SECRET"):
        supabase_sources(settings)
