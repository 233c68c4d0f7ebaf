"""`tabario token`: a development token for the embedded stack."""

from __future__ import annotations

from datetime import timedelta
from uuid import NAMESPACE_OID, uuid5

from pydantic import SecretStr

from tabario.embedded.state import StackDirectory
from tabario.errors import ConfigurationError
from tabario.tiers import Tier
from tabario.tokens.development import mint_development_token


def development_token(directory: StackDirectory, *, user_id: str | None, tier: Tier, hours: float) -> str:
    """A token that the stack in this directory honours, signed with the stack's own key.

    Without a `user_id` it is for the same user each time, one of each stack. Raises ConfigurationError when there never
    was a stack here.
    """
    if not directory.is_used:
        raise ConfigurationError(
            f"No stack was started in {directory.root.name}: run make up first, or set TABARIO_STATE_DIR."
        )
    key = SecretStr(directory.secrets().development_key)
    user_id = user_id or str(uuid5(NAMESPACE_OID, directory.secrets().development_key))
    return mint_development_token(key, user_id=user_id, tier=tier, lifetime=timedelta(hours=hours))
