"""What an operator is told of the ComfyUI servers before a deployment and afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from redis.asyncio import Redis
from rich.console import Console

from tabario.cli.servers import approve_servers, show_servers
from tabario.clients.comfyui import server_name
from tabario.errors import ConfigurationError
from tabario.places.board import Board
from tabario.settings import ComfyUISettings
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.jobs import settings_for
from tests.support.servers import RedisServer, free_port


@pytest.fixture(scope="module", params=["0.33.0", "0.3.64"])
def comfyui(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    with comfyui_running(tmp_path_factory.mktemp("comfyui"), version=request.param) as server:
        yield server


class BareServer(BaseHTTPRequestHandler):
    """A ComfyUI without samplers, and with another model."""

    ANSWERS: ClassVar = {
        "/system_stats": {"system": {"comfyui_version": "0.40.0"}, "devices": []},
        "/object_info": {
            "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["tiny.safetensors"], {}]}}},
            **{kind: {"input": {}} for kind in ("CLIPTextEncode", "EmptyLatentImage", "VAEDecode", "SaveImage")},
        },
    }

    def do_GET(self) -> None:
        body = json.dumps(self.ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def bare() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BareServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_server_that_has_everything_is_approved(comfyui: ComfyUIServer) -> None:
    [check] = await approve_servers(ComfyUISettings(url=comfyui.url))
    assert "has what the workflows need" in str(check)


async def test_missing_node_and_model_stop_the_deployment_by_name(bare: str, comfyui: ComfyUIServer) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        await approve_servers(ComfyUISettings(url=f"{comfyui.url},{bare}"))
    message = str(refusal.value)
    assert server_name(bare) in message
    assert server_name(comfyui.url) not in message
    for workflow in ("text2image", "illustration"):
        assert f"Workflow {workflow} needs the node class KSampler" in message
        assert f'Workflow {workflow} needs "sd_xl_base_1.0.safetensors" as ckpt_name' in message


async def test_server_that_does_not_answer_stops_nothing() -> None:
    [check] = await approve_servers(ComfyUISettings(url=f"http://127.0.0.1:{free_port()}"))
    assert "does not answer" in str(check)


async def test_operator_sees_which_servers_take_pictures_and_takes_one_out_of_use(
    comfyui: ComfyUIServer, bare: str, redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    settings = settings_for(
        prefect_url="http://127.0.0.1:4200/api",
        redis_url=f"{redis_server.url[:-1]}5",
        directory=tmp_path,
        comfyui=ComfyUISettings(url=f"{comfyui.url},{bare}"),
    )
    await Board(redis, places=2).close(server_name(bare))

    async def rows(*, drain: tuple[str, ...] = (), refill: tuple[str, ...] = ()) -> str:
        console = Console(width=400, no_color=True)
        with console.capture() as shown:
            console.print(await show_servers(settings, drain=drain, refill=refill))
        return shown.get()

    name = server_name(comfyui.url)
    drained = await rows(drain=(name,))
    assert "no, draining" in drained
    assert "no, it failed" in drained
    assert "KSampler" in drained
    assert "no, draining" not in await rows(refill=(name,))
    with pytest.raises(ConfigurationError, match="names no server elsewhere:1"):
        await rows(drain=("elsewhere:1",))
