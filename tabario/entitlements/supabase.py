"""Asks the app's Supabase project, through the function `tier_of_user` of `supabase/migrations`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import anyio
import httpx
from postgrest.exceptions import APIError
from pydantic import AwareDatetime, BaseModel, ValidationError
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from tabario.entitlements.source import TierAnswer
from tabario.errors import ConfigurationError, RetryLater
from tabario.tiers import Tier

FUNCTION: Final = "tier_of_user"
TIMEOUT: Final = httpx.Timeout(2, connect=1)  # seconds, for each read or write
ANSWER_SECONDS: Final = 3.0  # for all of them together

_BUSY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class _Answer(BaseModel):
    tier: Tier
    changed_at: AwareDatetime | None


class SupabaseTiers:
    """The tiers of a Supabase project's users."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def tier_of(self, user_id: str) -> TierAnswer:
        """The user's tier. `user_id` is a UUID. Raises RetryLater and ConfigurationError."""
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                reply = await self._client.rpc(FUNCTION, {"subject": user_id}).execute()
            answer = _Answer.model_validate(reply.data)
        except httpx.HTTPStatusError as error:
            raise _refusal(error.response) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise RetryLater("Supabase does not answer.") from error
        except (APIError, ValidationError) as error:
            raise ConfigurationError("Check SUPABASE_URL: what answers there does not tell a user's tier.") from error
        return TierAnswer(tier=answer.tier, changed_at=answer.changed_at)


@asynccontextmanager
async def open_supabase(url: str, *, secret_key: str) -> AsyncIterator[SupabaseTiers]:
    """Opens a client of the project at `url`. It never signs in: that would change the headers that all calls share."""
    async with httpx.AsyncClient(timeout=TIMEOUT, event_hooks={"response": [_refuse_errors]}) as http:
        options = AsyncClientOptions(
            httpx_client=http, postgrest_client_retry=False, auto_refresh_token=False, persist_session=False
        )
        yield SupabaseTiers(await acreate_client(url, secret_key, options))


async def _refuse_errors(response: httpx.Response) -> None:
    """Supabase's client drops the status of an error that has a code of its own; the status decides what to do next."""
    if not response.is_success:
        await response.aread()
        response.raise_for_status()


def _refusal(response: httpx.Response) -> RetryLater | ConfigurationError:
    if response.is_server_error or response.status_code in _BUSY:
        return RetryLater("Supabase cannot answer just now.")
    return ConfigurationError(
        "Check SUPABASE_URL, SUPABASE_SECRET_KEY and that supabase/migrations are applied: "
        f"looking up a tier was refused with status {response.status_code}, code {_code(response)}."
    )


def _code(response: httpx.Response) -> str:
    try:
        body = json.loads(response.content)
    except ValueError:
        return "unknown"
    return str(body.get("code", "unknown")) if isinstance(body, dict) else "unknown"
