"""`/metrics` on the front door's own port."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from tabario.errors import ConfigurationError
from tabario.settings import AuthSettings, CoreSettings, Environment, MetricsScope, MetricsSettings
from tests.support.exposition import Exposition
from tests.support.front_door import front_door_settings
from tests.support.tokens import token

TOKEN = "b2f1c09d7ae84653"


async def scrape(
    directory: Path,
    *,
    environment: Environment = Environment.DEVELOPMENT,
    headers: Sequence[tuple[str, str]] = (),
    **metrics: object,
) -> httpx.Response:
    """What a front door answers to somebody on loopback; its services need not be open."""
    settings = front_door_settings(directory, redis_url="redis://127.0.0.1:1", prefect_url="http://127.0.0.1:1/api")
    update: dict[str, object] = {"metrics": MetricsSettings.model_validate({"directory": directory, **metrics})}
    if environment is Environment.PRODUCTION:
        update["core"] = CoreSettings(environment=environment)
        update["auth"] = AuthSettings.model_validate({"supabase_url": "https://project.supabase.co"})
    transport = httpx.ASGITransport(create_app(settings.model_copy(update=update)), client=("127.0.0.1", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        return await client.get("/metrics", headers=list(headers))


@pytest.mark.parametrize("environment", Environment)
async def test_prometheus_is_served_for_its_token(tmp_path: Path, environment: Environment) -> None:
    bearer = [("Authorization", f"Bearer {TOKEN}")]
    reply = await scrape(tmp_path, environment=environment, headers=bearer, token=TOKEN)
    assert reply.status_code == 200
    assert Exposition.parse(reply.text).value("video_orchestrator_start_time_seconds") is not None


@pytest.mark.parametrize("expected", [TOKEN, None])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", f"Bearer {TOKEN[:-1]}")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Bearer None")],
        [("Authorization", TOKEN)],
        [("Authorization", f"Basic {TOKEN}")],
        [("Authorization", f"Bearer {token()}")],
        [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
        [("X-Forwarded-For", "127.0.0.1")],
    ],
)
async def test_in_production_nobody_else_sees_them(
    tmp_path: Path, headers: list[tuple[str, str]], expected: str | None
) -> None:
    reply = await scrape(tmp_path, environment=Environment.PRODUCTION, headers=headers, token=expected)
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")
    assert "video_orchestrator" not in reply.text


async def test_in_production_they_are_closed_when_no_token_is_set(tmp_path: Path) -> None:
    bearer = [("Authorization", f"Bearer {TOKEN}")]
    assert (await scrape(tmp_path, environment=Environment.PRODUCTION, headers=bearer)).status_code == 401


@pytest.mark.parametrize("scope", MetricsScope)
async def test_in_development_metrics_need_no_token(tmp_path: Path, scope: MetricsScope) -> None:
    reply = await scrape(tmp_path, scope=scope)
    assert reply.status_code == 200
    assert Exposition.parse(reply.text).value("video_orchestrator_start_time_seconds") is not None


async def test_front_doors_that_share_a_directory_cannot_each_show_everything(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Set METRICS_SCOPE=process and run one `tabario exporter`"):
        await scrape(tmp_path, multiprocess_directory=tmp_path)
    for harmless in ({"scope": MetricsScope.PROCESS}, {"enabled": False}):
        assert (await scrape(tmp_path, multiprocess_directory=tmp_path, **harmless)).status_code in (200, 404)


async def test_switched_off_there_are_none(tmp_path: Path) -> None:
    reply = await scrape(tmp_path, enabled=False)
    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"
