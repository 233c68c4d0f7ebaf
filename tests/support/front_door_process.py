"""The front door as its operators run it: `python -m api` as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tabario.tiers import Tier
from tests.support.servers import PrefectServer, free_port, running
from tests.support.tokens import KEY, token
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class FrontDoorProcess:
    """A running front door. `log` is what it wrote to standard error."""

    url: str
    redis_url: str
    log: Path

    def client(self, user_id: str, *, tier: Tier = Tier.STANDARD) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token(user_id=user_id, tier=tier)}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)


@contextmanager
def front_door_process(
    directory: Path, *, redis_url: str, prefect: PrefectServer, **variables: str
) -> Iterator[FrontDoorProcess]:
    """Runs the front door until the block ends; it is ready when the block begins."""
    port = free_port()
    environment = {
        "TABARIO_ENVIRONMENT": "development",
        "TABARIO_STATE_DIR": str(directory),
        "TABARIO_REDIS_URL": redis_url,
        "PREFECT_API_URL": prefect.api_url,
        "TABARIO_PREFECT_ONE_WRITER": "true",
        "TABARIO_COMFYUI_URL": "http://127.0.0.1:1",
        "TABARIO_MEDIA_ROOT": str(directory / "media"),
        "TABARIO_METRICS_DIRECTORY": str(directory / "metrics"),
        "METRICS_SCOPE": "process",
        "TABARIO_DEVELOPMENT_KEY": KEY,
        "TABARIO_API_PORT": str(port),
        **variables,
    }
    door = FrontDoorProcess(url=f"http://127.0.0.1:{port}", redis_url=redis_url, log=directory / "front-door.log")

    def is_ready() -> bool:
        try:
            return httpx.get(f"{door.url}/ready", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    with running([sys.executable, "-m", "api"], environment=environment, log=door.log) as process:
        wait_until(lambda: process.poll() is not None or is_ready(), within=60, what="the front door is ready")
        assert process.poll() is None, door.log.read_text()
        yield door
