"""The keys behind the tokens of a Supabase project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jwt import PyJWK

from tabario.errors import Unauthenticated
from tabario.settings import AuthSettings
from tabario.tokens.header import TokenHeader
from tabario.tokens.jwks import ALGORITHMS, PublishedKeys
from tabario.tokens.sources import KeySource, SharedSecret, secret_bytes

LEGACY_KEY_VARIABLE: Final = "SUPABASE_JWT_SECRET"


@dataclass(frozen=True)
class ProjectKeys:
    """The asymmetric keys that a project publishes, each for the one algorithm that it is made for."""

    issuer: str
    published: PublishedKeys

    def accepts(self, header: TokenHeader) -> bool:
        """Asymmetric algorithms only, and only with a key id, which alone chooses the key."""
        return header.algorithm in ALGORITHMS and header.key_id is not None

    async def key(self, header: TokenHeader) -> PyJWK:
        """The published key. Raises Unauthenticated when there is none, RetryLater in an outage."""
        key = await self.published.find(header.key_id or "")
        if key is None:
            raise Unauthenticated("The issuer publishes no key with the token's key id.")
        if key.algorithm_name != header.algorithm:
            raise Unauthenticated("The key with the token's key id is for another algorithm.")
        return key

    async def close(self) -> None:
        """Ends what is still under way."""
        await self.published.close()


def supabase_sources(auth: AuthSettings) -> list[KeySource]:
    """The sources for the project in the settings: none without one.

    HS256 is honoured only when the legacy secret is set. Raises ConfigurationError when that is too short.
    """
    if auth.supabase_url is None:
        return []
    issuer = f"{str(auth.supabase_url).rstrip('/')}/auth/v1"
    sources: list[KeySource] = [ProjectKeys(issuer, PublishedKeys(f"{issuer}/.well-known/jwks.json"))]
    if auth.supabase_jwt_secret is not None:
        secret = secret_bytes(auth.supabase_jwt_secret.get_secret_value(), variable=LEGACY_KEY_VARIABLE)
        sources.append(SharedSecret(issuer=issuer, secret=secret))
    return sources
