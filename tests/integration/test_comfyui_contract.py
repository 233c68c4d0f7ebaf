"""The stand-in answers as real ComfyUI servers did: recordings of two versions are replayed against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.recordings import Exchange, SocketRecording, exchanges, message_types, shape, sockets
from tests.support.waiting import wait_until

VERSIONS: Final = ("0.33.0", "0.3.64")
DESCRIBED: Final = "/object_info/"

# Recorded when the model and the texts of this scenario were in the node cache.
PRECEDED_BY: Final = {"no_client_id": "single_output_success"}

PICTURE: Final = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "rec/view/pic", "images": ["1", 0]}},
}


def scenarios() -> Iterator[tuple[str, str]]:
    for version in VERSIONS:
        for scenario in dict.fromkeys(exchange.scenario for exchange in exchanges(version)):
            yield version, scenario


def socket_scenarios() -> Iterator[tuple[str, str]]:
    for version in VERSIONS:
        for scenario in dict.fromkeys(recording.scenario for recording in sockets(version)):
            yield version, scenario


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ComfyUIServer]]:
    root = tmp_path_factory.mktemp("comfyui")
    with (
        comfyui_running(root / "new", image_seconds=1, version="0.33.0") as new,
        comfyui_running(root / "old", image_seconds=1, version="0.3.64") as old,
    ):
        yield {"0.33.0": new, "0.3.64": old}


class Replay:
    """Sends a scenario's requests with the ids that this server gave."""

    def __init__(self, server: ComfyUIServer, version: str, scenario: str) -> None:
        self.server = server
        self.exchanges = [exchange for exchange in exchanges(version) if exchange.scenario == scenario]
        self._ids: dict[str, str] = {}  # recorded to actual
        self._client = server.http
        self._before = PRECEDED_BY.get(scenario)
        self._version = version

    def prepare(self) -> None:
        """Starts from nothing, with the files and the cache that scenarios look at."""
        self.server.restart()
        self._client.post("/prompt", json={"prompt": PICTURE}).raise_for_status()
        self._client.post("/upload/image", files={"image": ("corrupt.png", b"this is not an image")})
        self.wait_until_idle()
        self.server.restart()
        if self._before:
            before = Replay(self.server, self._version, self._before)
            before.send(before.exchanges[0])
            before.wait_until_idle()

    def wait_until_idle(self) -> None:
        def is_idle() -> bool:
            return bool(self._client.get("/prompt").json()["exec_info"]["queue_remaining"] == 0)

        wait_until(is_idle, within=20, what="the queue is empty")

    def send(self, exchange: Exchange) -> httpx.Response:
        recorded = exchange.response.get("body_json")
        if exchange.request["path"].startswith("/history") and isinstance(recorded, dict):
            self._wait_for_entries(list(recorded))
        if "FILE was deleted" in exchange.note:
            (self.server.directory / "output/rec/cache_00001_.png").unlink()
        path, content = self._translate(exchange.request["path"]), exchange.content
        if "body_json" in exchange.request:
            content = self._translate(content.decode()).encode()
        response = self._client.request(
            exchange.request["method"], path, content=content, headers=exchange.request.get("headers")
        )
        if response.is_success and exchange.request["path"] == "/prompt" and isinstance(recorded, dict):
            self._ids[str(recorded.get("prompt_id"))] = str(response.json().get("prompt_id"))
        return response

    def body(self, response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
        """The answer's JSON with the recorded ids."""
        text = response.text
        for recorded, actual in self._ids.items():
            text = text.replace(f'"{actual}"', f'"{recorded}"')
        return json.loads(text)

    def _translate(self, text: str) -> str:
        for recorded, actual in self._ids.items():
            if len(recorded) > len("scene-17"):
                text = text.replace(recorded, actual)
        return text

    def _wait_for_entries(self, recorded_ids: list[str]) -> None:
        for recorded in recorded_ids:
            path = f"/history/{self._ids[recorded]}"
            wait_until(partial(self._has_entry, path), within=20, what=f"{path} has an entry")

    def _has_entry(self, path: str) -> bool:
        return bool(self._client.get(path).json())


@pytest.fixture
def replay(servers: dict[str, ComfyUIServer], version: str, scenario: str) -> Replay:
    prepared = Replay(servers[version], version, scenario)
    prepared.prepare()
    return prepared


@pytest.mark.parametrize(("version", "scenario"), list(scenarios()))
def test_answers_have_the_recorded_status_and_shape(replay: Replay) -> None:
    for exchange in replay.exchanges:
        response = replay.send(exchange)
        place = f"{exchange.request['method']} {exchange.request['path']} ({exchange.note})"
        assert response.status_code == exchange.response["status"], place
        recorded = exchange.response.get("body_json")
        is_described = exchange.request["path"].startswith(DESCRIBED)
        if recorded is not None and not is_described:
            assert shape(replay.body(response)) == shape(recorded), place
            assert response.headers["content-type"].startswith("application/json"), place
        elif exchange.response["content_type"] == "text/plain; charset=utf-8":
            assert response.headers["content-type"].startswith("text/plain"), place


@pytest.mark.parametrize(("version", "scenario"), list(socket_scenarios()))
async def test_websocket_messages_come_in_the_recorded_order(replay: Replay, version: str, scenario: str) -> None:
    recordings = [recording for recording in sockets(version) if recording.scenario == scenario]
    async with AsyncExitStack() as stack:
        url = replay.server.url.replace("http", "ws", 1)
        open_sockets = [await stack.enter_async_context(connect(url + each.connect_path)) for each in recordings]
        heard: list[list[dict[str, Any]]] = [[] for _ in recordings]
        for exchange in replay.exchanges[: last_heard(replay, recordings)]:
            if exchange.request["path"] == "/interrupt":
                heard[0] += await listen_until(open_sockets[0], "progress")
            replay.send(exchange)
        replay.wait_until_idle()
        for recording, socket, early in zip(recordings, open_sockets, heard, strict=True):
            # The answer to this question comes after everything else.
            await socket.send(json.dumps({"type": "feature_flags", "data": {}}))
            late = (await listen_until(socket, "feature_flags"))[:-1]
            assert message_types(early + late) == message_types(recording.messages), recording.label


def last_heard(replay: Replay, recordings: list[SocketRecording]) -> int | None:
    """How many exchanges were made while the sockets were open; None when all were."""
    runs = max(message_types(recording.messages).count("executing nothing") for recording in recordings) or 1
    submissions = [number for number, each in enumerate(replay.exchanges) if each.request["path"] == "/prompt"]
    return submissions[runs] if len(submissions) > runs else None


async def listen_until(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """The messages up to the first of this type."""
    messages: list[dict[str, Any]] = []
    async for text in socket:
        messages.append(json.loads(text))
        if messages[-1]["type"] == kind:
            return messages
    raise AssertionError("the socket closed")


@pytest.mark.parametrize("version", VERSIONS)
def test_object_info_describes_inputs_and_outputs_as_recorded(servers: dict[str, ComfyUIServer], version: str) -> None:
    for exchange in exchanges(version):
        name = exchange.request["path"].removeprefix(DESCRIBED)
        recorded = exchange.response.get("body_json")
        if not exchange.request["path"].startswith(DESCRIBED) or not recorded:
            continue
        described = servers[version].http.get(exchange.request["path"]).json()[name]
        for key in ("input_order", "output", "output_is_list", "output_name", "name", "output_node", "python_module"):
            assert described[key] == recorded[name][key], f"{name}.{key}"
        inputs = recorded[name]["input"]["required"]
        assert described["input"]["required"].keys() == inputs.keys()
        for input_name, (kind, options) in inputs.items():
            described_kind, described_options = described["input"]["required"][input_name]
            assert type(described_kind) is type(kind), f"{name}.{input_name}"
            options.pop("tooltip", None)
            assert described_options == options, f"{name}.{input_name}"
