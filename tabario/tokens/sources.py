"""Where keys come from. Each source belongs to one issuer and one family of algorithms, which never mix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from jwt import PyJWK

from tabario.errors import ConfigurationError
from tabario.tokens.header import TokenHeader

MIN_SECRET_BYTES = 32


class KeySource(Protocol):
    """Keys of one issuer."""

    @property
    def issuer(self) -> str:
        """The exact `iss` of every token that these keys sign."""
        ...

    def accepts(self, header: TokenHeader) -> bool:
        """Whether a token with this header can be this issuer's."""
        ...

    async def key(self, header: TokenHeader) -> bytes | PyJWK:
        """The key for an accepted header. Raises Unauthenticated when there is none, RetryLater in an outage."""
        ...

    async def close(self) -> None:
        """Ends what is still under way."""
        ...


@dataclass(frozen=True)
class SharedSecret:
    """An HS256 secret that the issuer and this verifier share."""

    issuer: str
    secret: bytes = field(repr=False)
    key_id: str | None = None  # None: any key id

    def accepts(self, header: TokenHeader) -> bool:
        """HS256 only, and only under this secret's key id when it has one."""
        return header.algorithm == "HS256" and self.key_id in (None, header.key_id)

    async def key(self, header: TokenHeader) -> bytes:  # noqa: ARG002 - the same key for every accepted header
        """The secret."""
        return self.secret

    async def close(self) -> None:
        """Nothing is ever under way."""


def secret_bytes(secret: str, *, variable: str) -> bytes:
    """The secret as a key. Raises ConfigurationError, naming `variable`, when it is too short for HS256."""
    key = secret.encode()
    if len(key) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"Set {variable} to at least {MIN_SECRET_BYTES} bytes: it is shorter.")
    return key
