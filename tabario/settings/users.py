"""Whose tokens are honoured, and how many jobs each user may run."""

from __future__ import annotations

from pydantic import Field, HttpUrl, SecretStr, ValidationInfo, field_validator

from tabario.settings.core import group
from tabario.settings_source import Group
from tabario.tiers import Tier


class SlotSettings(Group):
    """Slots per tier, and the times that keep their leases honest. All times are seconds."""

    model_config = group(env_prefix="TABARIO_SLOTS_")

    standard: int = Field(default=1, ge=1, le=100, description="jobs at once for a standard user")
    premium: int = Field(default=3, ge=1, le=100, description="jobs at once for a premium user")
    claim_lease: int = Field(default=60, ge=60, description="seconds that a new claim holds without a renewal")
    run_lease: int = Field(default=180, ge=60, description="seconds that a renewal holds")
    sweep: float = Field(default=10, gt=0, description="seconds between two passes of the keeper")
    gate: float = Field(default=45, gt=0, description="seconds without a good pass until admission stops")
    pending_limit: float = Field(default=60, gt=0, description="seconds that a run may stay PENDING")
    silence: float = Field(
        default=30,
        ge=15,
        description="seconds without a beat, of which one comes every 5, until a process counts as dead",
    )
    resumes: int = Field(default=2, ge=0, description="times that a crashed run is resumed")
    standard_wait: float = Field(
        default=600, gt=0, description="seconds that premium jobs may pass a waiting standard one; then it goes by age"
    )

    @field_validator("gate")
    @classmethod
    def _gate_closes_first(cls, gate: float, info: ValidationInfo) -> float:
        for name in ("claim_lease", "run_lease"):
            if gate >= info.data.get(name, float("inf")):
                raise ValueError(f"must be less than TABARIO_SLOTS_{name.upper()}, or a slot might be sold twice")
        return gate

    def slots(self, tier: Tier) -> int:
        """How many jobs a user of this tier may run at once."""
        return self.premium if tier is Tier.PREMIUM else self.standard


class AuthSettings(Group):
    """Whose tokens are honoured."""

    model_config = group(env_prefix="")

    development_key: SecretStr | None = Field(
        default=None,
        validation_alias="TABARIO_DEVELOPMENT_KEY",
        description="signs development tokens; at least 32 bytes; refused outside development",
    )
    supabase_url: HttpUrl | None = Field(
        default=None,
        validation_alias="SUPABASE_URL",
        description="address of the Supabase project whose users may call, without a path",
    )
    supabase_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="SUPABASE_SECRET_KEY",
        description="secret (or service_role) key of the project, to look up a user's tier; else tokens alone tell it",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        default=None,
        validation_alias="SUPABASE_JWT_SECRET",
        description="legacy HS256 secret of the project; only when it has no asymmetric signing keys",
    )

    @field_validator("supabase_url")
    @classmethod
    def _a_project(cls, url: HttpUrl | None) -> HttpUrl | None:
        if url is not None and (url.path not in (None, "/") or url.query or url.fragment):
            raise ValueError("it ends after the host and port; the paths are known")
        return url

    @field_validator("supabase_secret_key", "supabase_jwt_secret")
    @classmethod
    def _of_a_project(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("supabase_url") is None:
            raise ValueError("it is of no use without a valid SUPABASE_URL; set both or neither")
        return value

    @field_validator("supabase_secret_key")
    @classmethod
    def _secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value().startswith("sb_publishable_"):
            raise ValueError("this is the publishable key, which may not look up tiers")
        return value
