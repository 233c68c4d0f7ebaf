"""Whose tokens are honoured, and whether Supabase tells tiers to us and to nobody else."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import httpx
from pydantic import SecretStr

from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.entitlements.supabase import open_supabase
from tabario.errors import ConfigurationError, RetryLater
from tabario.settings import AuthSettings, Settings
from tabario.tokens.verifier import create_verifier

NOBODY: Final = str(UUID(int=0))
OPEN_GRANTS: Final = "tabario_open_grants"
SECONDS: Final = 10.0


async def check_tokens(settings: Settings) -> list[Finding]:
    """Whether any token could be honoured."""
    create_verifier(settings)
    return [ok("tokens", "Access tokens can be verified.")]


async def check_supabase(settings: AuthSettings) -> list[Finding]:
    """Asks for nobody's tier, and who else may ask."""
    if settings.supabase_url is None or settings.supabase_secret_key is None:
        return [
            warn(
                "supabase",
                "No Supabase project is named: a user's tier is what the token says.",
                "Set SUPABASE_URL and SUPABASE_SECRET_KEY, unless app_metadata.tier is in every token.",
            )
        ]
    url = str(settings.supabase_url)
    try:
        async with open_supabase(url, secret_key=settings.supabase_secret_key.get_secret_value()) as tiers:
            await tiers.tier_of(NOBODY)
    except (ConfigurationError, RetryLater) as error:
        return [fail("supabase", str(error), "Check the project's address and key, and apply supabase/migrations.")]
    return [ok("supabase", "Supabase tells users' tiers."), await _grants(url, settings.supabase_secret_key)]


async def _grants(url: str, key: SecretStr) -> Finding:
    headers = {"apikey": key.get_secret_value(), "Authorization": f"Bearer {key.get_secret_value()}"}
    mend = "Apply supabase/migrations, and revoke what was granted besides."
    async with httpx.AsyncClient(timeout=SECONDS, headers=headers) as http:
        answer = await http.post(f"{url.rstrip('/')}/rest/v1/rpc/{OPEN_GRANTS}", json={})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return warn("supabase-grants", "The project cannot tell who may look up tiers.", mend)
    found: list[str] = answer.raise_for_status().json()
    if found:
        return fail("supabase-grants", f"In Supabase, {', '.join(found)}.", mend)
    return ok("supabase-grants", "Nobody but the service may look up tiers or change them.")
