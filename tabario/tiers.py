"""What a user pays for. The number of slots of each tier is a setting."""

from enum import StrEnum


class Tier(StrEnum):
    """A user's plan."""

    STANDARD = "standard"
    PREMIUM = "premium"
