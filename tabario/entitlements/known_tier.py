"""What is known of a user's tier as of some moment, and which of two such statements to believe."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

from tabario.tiers import Tier

# The moments that are compared come from the clocks of three machines: issuer, database and front door.
SKEW: Final = timedelta(seconds=5)


class KnownTier(BaseModel):
    """`as_of` is when a token that says so was issued, or when the database was asked.

    `changed_at` is the last change that the statement tells of.
    """

    model_config = ConfigDict(frozen=True)

    tier: Tier
    changed_at: AwareDatetime | None
    as_of: AwareDatetime

    def overrules(self, known: KnownTier) -> bool:
        """Whether a token that says so is to be believed: it was issued after the last known change.

        One that contradicts must also be newer than what it contradicts: the end of a subscription may leave no date.
        """
        if known.changed_at is not None and self.as_of <= known.changed_at + SKEW:
            return False
        return self.tier is known.tier or self.as_of > known.as_of + SKEW

    def casts_doubt_on(self, known: KnownTier) -> bool:
        """Whether it contradicts what is known without being clearly older."""
        return self.tier is not known.tier and self.as_of > known.as_of - SKEW

    def age(self, now: datetime) -> timedelta:
        """How long ago this was known to be so."""
        return now - self.as_of
