"""Verifies access tokens: each check here is one that a ready-made verifier was found to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import jwt

from tabario.errors import ConfigurationError, Unauthenticated
from tabario.settings import Settings
from tabario.tokens.claims import AUDIENCE, Identity, read_identity
from tabario.tokens.development import KEY_VARIABLE, development_source
from tabario.tokens.header import TokenHeader, read_header
from tabario.tokens.sources import KeySource
from tabario.tokens.supabase import supabase_sources

LEEWAY_SECONDS: Final = 10


class TokenVerifier:
    """Tells whose a token is, trusting the given key sources and nothing else."""

    def __init__(self, sources: Sequence[KeySource]) -> None:
        self._sources = tuple(sources)

    async def verify(self, token: str) -> Identity:
        """The identity that a token proves.

        Raises Unauthenticated (its message is for the log only), Forbidden for a genuine token that may not be used
        here, and RetryLater when the keys cannot be had.
        """
        header = read_header(token)
        source = self._source(header)
        return read_identity(_decode(token, await source.key(header), header, issuer=source.issuer))

    async def close(self) -> None:
        """Ends what is still under way. A closed verifier may go on."""
        for source in self._sources:
            await source.close()

    def _source(self, header: TokenHeader) -> KeySource:
        for source in self._sources:
            if source.accepts(header):
                return source
        raise Unauthenticated("No key source accepts the token's algorithm and key id.")


def create_verifier(settings: Settings) -> TokenVerifier:
    """The verifier that the settings ask for. Raises ConfigurationError when they name no one to trust."""
    development = development_source(settings.auth, settings.core.environment)
    sources = [*([development] if development else []), *supabase_sources(settings.auth)]
    if not sources:
        raise ConfigurationError(
            f"Set SUPABASE_URL, or {KEY_VARIABLE} in development: without either no token can be verified."
        )
    return TokenVerifier(sources)


def _decode(token: str, key: bytes | jwt.PyJWK, header: TokenHeader, *, issuer: str) -> dict[str, Any]:
    """The claims. `header.algorithm` comes from the token, but the key's source has accepted it."""
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[header.algorithm],
            audience=AUDIENCE,
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "sub", "aud", "iss"], "strict_aud": True},
        )
    except jwt.InvalidTokenError as error:
        raise Unauthenticated(f"The token is not valid: {error}") from None
