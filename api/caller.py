"""Who is calling, as the front door knows it after authentication."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tabario.tiers import Tier


@dataclass(frozen=True)
class Caller:
    """An authenticated user. `expires_at` is when the token ends, in UTC.

    `tier_is_certain` is False when nobody said which tier the user has, and the standard one was assumed.
    """

    user_id: str
    tier: Tier
    tier_is_certain: bool
    expires_at: datetime
