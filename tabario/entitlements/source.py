"""Who decides about tiers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tabario.tiers import Tier


@dataclass(frozen=True)
class TierAnswer:
    """The tier of a user, and when it last changed, if it ever did."""

    tier: Tier
    changed_at: datetime | None


class TierSource(Protocol):
    """Knows every user's tier. `tabario.entitlements.supabase` has the real one."""

    async def tier_of(self, user_id: str) -> TierAnswer:
        """The user's tier now; standard for a user that it does not know.

        Raises RetryLater when it cannot answer just now, and ConfigurationError when it refuses to.
        """
        ...
