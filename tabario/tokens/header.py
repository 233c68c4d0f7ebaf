"""The header segment of a token: the only part that is read before the signature is verified."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Final

from tabario.errors import Unauthenticated

MAX_TOKEN_BYTES: Final = 8 * 1024

_COMPACT_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_EXTENSIONS: Final = frozenset({"crit", "b64", "zip"})


@dataclass(frozen=True)
class TokenHeader:
    """What chooses the key. Nothing in here is proven yet."""

    algorithm: str
    key_id: str | None


def read_header(token: str) -> TokenHeader:
    """Reads the header of a compact token. Raises Unauthenticated when the token is no such thing.

    `jku`, `x5u` and `jwk`, with which a token would bring its own key, are never looked at.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated("The token is too long.")
    if not _COMPACT_TOKEN.fullmatch(token):
        raise Unauthenticated("The token is not made of three base64url segments.")
    fields = _decode_segment(token.split(".", 1)[0])
    algorithm, key_id = fields.get("alg"), fields.get("kid")
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None):
        raise Unauthenticated("The token's alg or kid is not a string.")
    if _EXTENSIONS & fields.keys():
        raise Unauthenticated("The token's header asks for an extension.")
    return TokenHeader(algorithm=algorithm, key_id=key_id)


def _decode_segment(segment: str) -> dict[str, object]:
    try:
        fields = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        raise Unauthenticated("The token's header is not JSON.") from None
    if not isinstance(fields, dict):
        raise Unauthenticated("The token's header is not an object.")
    return fields
