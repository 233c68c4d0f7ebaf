"""`tabario token`: a development token for the embedded stack."""

from __future__ import annotations

from datetime import timedelta

from pydantic import SecretStr

from tabario.embedded.state import StackDirectory
from tabario.tiers import Tier
from tabario.tokens.development import mint_development_token


def development_token(directory: StackDirectory, *, user_id: str, tier: Tier, hours: float) -> str:
    """A token that the stack in this directory honours, signed with the stack's own key."""
    key = SecretStr(directory.secrets().development_key)
    return mint_development_token(key, user_id=user_id, tier=tier, lifetime=timedelta(hours=hours))
