"""The claims of a token whose signature is proven, and the identity that they amount to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from tabario.errors import Forbidden, Unauthenticated
from tabario.jobs import UserId
from tabario.tiers import Tier

AUDIENCE: Final = "authenticated"
ROLE: Final = "authenticated"
MAX_LIFETIME: Final = timedelta(days=7)

_YEAR_9999: Final = 253_370_764_800


@dataclass(frozen=True)
class Identity:
    """Who a token speaks for. `tier` is None when its issuer does not say, as is the time of its last change."""

    user_id: str
    tier: Tier | None
    tier_changed_at: datetime | None
    issued_at: datetime
    expires_at: datetime


class _AppMetadata(BaseModel):
    """Written by the issuer only, unlike `user_metadata`, which its user may edit and which is never read."""

    tier: Tier | None = None
    tier_changed_at: datetime | None = None

    @field_validator("tier", mode="before")
    @classmethod
    def _known_tier_or_none(cls, value: object) -> object:
        return value if value in list(Tier) else None

    @field_validator("tier_changed_at", mode="before")
    @classmethod
    def _unix_time_or_none(cls, value: object) -> datetime | None:
        if isinstance(value, int | float) and 0 <= value < _YEAR_9999:
            return datetime.fromtimestamp(value, UTC)
        return None


class _Claims(BaseModel):
    model_config = ConfigDict(strict=True)

    sub: UserId
    iat: int | float
    exp: int | float
    role: str
    app_metadata: _AppMetadata | None = None
    is_anonymous: bool = False
    client_id: str | None = None


def read_identity(payload: dict[str, Any]) -> Identity:
    """The identity behind verified claims.

    Raises Unauthenticated for claims of the wrong shape or an overlong life, Forbidden for accounts that may not
    submit.
    """
    try:
        claims = _Claims.model_validate(payload)
    except ValidationError as error:
        names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise Unauthenticated(f"The token's claims have the wrong shape: {names}.") from None
    if claims.exp - claims.iat > MAX_LIFETIME.total_seconds():
        raise Unauthenticated("The token lives for too long.")
    _check_account(claims)
    metadata = claims.app_metadata or _AppMetadata()
    return Identity(
        user_id=claims.sub,
        tier=metadata.tier,
        tier_changed_at=metadata.tier_changed_at,
        issued_at=datetime.fromtimestamp(claims.iat, UTC),
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
    )


def _check_account(claims: _Claims) -> None:
    if claims.role != ROLE:
        raise Forbidden("This token's role may not use the service; sign in as a user.")
    if claims.is_anonymous:
        raise Forbidden("Anonymous accounts may not use the service; sign in with an account.")
    if claims.client_id is not None:
        raise Forbidden("Tokens of third-party applications are not accepted.")
