"""The image loop in a flow process of its own, under a real Prefect: a kill costs no picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from redis.asyncio import Redis

from tabario import names
from tabario.cli.deployment import deploy
from tabario.settings import ComfyUISettings
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.jobs import new_job, settings_for
from tests.support.killing import kill_and_resume
from tests.support.picture_loop import PictureLoop
from tests.support.servers import PrefectServer, RedisServer


@pytest.fixture
def comfyui(tmp_path: Path) -> Iterator[ComfyUIServer]:
    with comfyui_running(tmp_path / "comfyui", image_seconds=0.5) as server:
        yield server


@pytest.fixture
async def loop(
    prefect_server: PrefectServer, redis_server: RedisServer, comfyui: ComfyUIServer, redis: Redis, tmp_path: Path
) -> PictureLoop:
    """Everything is deployed, and the places are all free."""
    await redis.delete(names.PLACES_KEY)
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        await deploy(
            settings_for(
                prefect_url=prefect_server.api_url,
                redis_url=f"{redis_server.url[:-1]}5",
                directory=tmp_path,
                comfyui=ComfyUISettings(url=comfyui.url),
            )
        )
    return PictureLoop(prefect_server.api_url, tmp_path)


@pytest.mark.parametrize("after", [1, 3])
async def test_no_picture_is_painted_twice_when_the_process_is_killed(
    loop: PictureLoop, comfyui: ComfyUIServer, after: int
) -> None:
    assert await kill_and_resume(loop, comfyui, new_job(), 8, after=after) == 8
