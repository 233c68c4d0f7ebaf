"""What each kind of reply to the tier lookup means; the replies of the real thing are in the integration tests."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tabario.entitlements.supabase import open_supabase
from tabario.errors import ConfigurationError, RetryLater, TabarioError
from tests.support.voices import Answer as Reply
from tests.support.voices import voice_service_running as service_running

JSON = "application/json"


def failure(status: int, code: str = "XX000") -> Reply:
    return Reply(f'{{"code": "{code}", "message": "no"}}'.encode(), status, JSON)


async def error_after(reply: Reply) -> TabarioError:
    """What the lookup raises when this is the reply."""
    async with service_running(reply) as service, open_supabase(service.url, secret_key="sb_secret_x") as tiers:
        with pytest.raises((RetryLater, ConfigurationError)) as raised:
            await tiers.tier_of(str(uuid4()))
    return raised.value


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 540])
async def test_a_busy_or_broken_service_is_an_outage_whatever_its_error_code_says(status: int) -> None:
    assert isinstance(await error_after(failure(status, code="42501")), RetryLater)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 406])
async def test_a_refusal_is_a_configuration_error_that_names_status_and_code(status: int) -> None:
    error = await error_after(failure(status, code="42501"))
    assert isinstance(error, ConfigurationError)
    assert f"status {status}, code 42501" in str(error)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>Welcome</html>", content_type="text/html"),
        Reply(b"[]", content_type=JSON),
        Reply(b"", 204),
        Reply(b'{"tier": "platinum", "changed_at": null}', content_type=JSON),
        Reply(b'{"tier": "premium"}', content_type=JSON),
    ],
)
async def test_something_else_at_the_address_is_a_configuration_error(reply: Reply) -> None:
    error = await error_after(reply)
    assert isinstance(error, ConfigurationError)
    assert "SUPABASE_URL" in str(error)


async def test_a_refusal_that_is_not_json_has_an_unknown_code() -> None:
    assert "code unknown" in str(await error_after(Reply(b"<html>", 404, "text/html")))


async def test_a_service_that_stalls_is_an_outage() -> None:
    assert isinstance(await error_after(Reply(b'{"tier"', content_type=JSON, stalls=True)), RetryLater)
