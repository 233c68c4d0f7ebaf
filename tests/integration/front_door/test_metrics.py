"""`/metrics` on the front door's own port."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.app import create_app
from tabario.errors import ConfigurationError
from tabario.settings import MetricsScope, MetricsSettings
from tests.support.exposition import Exposition
from tests.support.front_door import front_door_settings


async def scrape(directory: Path, **metrics: object) -> httpx.Response:
    """What a front door answers whose services need not be open."""
    settings = front_door_settings(
        directory, redis_url="redis://127.0.0.1:1", prefect_url="http://127.0.0.1:1/api"
    ).model_copy(update={"metrics": MetricsSettings.model_validate({"directory": directory, **metrics})})
    transport = httpx.ASGITransport(create_app(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        return await client.get("/metrics")


@pytest.mark.parametrize("scope", MetricsScope)
async def test_metrics_need_no_token(tmp_path: Path, scope: MetricsScope) -> None:
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
