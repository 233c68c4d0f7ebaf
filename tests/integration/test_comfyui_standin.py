"""The stand-in's own promises: serial execution, the cache, faults by name, the log, and quick endings."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from websockets.sync.client import connect

from tabario.embedded.comfyui.faults import Fault
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.waiting import wait_until

WIDTH, HEIGHT = 64, 96


def graph(seed: int = 1, prefix: str = "job/scene/img") -> dict[str, Any]:
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": WIDTH, "height": HEIGHT, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat on the sea", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed,
                "steps": 4,
                "cfg": 7,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix, "images": ["8", 0]}},
    }


class Client:
    """A plain client of one stand-in."""

    def __init__(self, server: ComfyUIServer) -> None:
        self.server = server
        self.http = server.http

    def submit(self, prompt: dict[str, Any], **fields: object) -> str:
        answer = self.http.post("/prompt", json={"prompt": prompt, **fields})
        return str(answer.raise_for_status().json()["prompt_id"])

    def entry(self, prompt_id: str) -> dict[str, Any]:
        entry: dict[str, Any] = self.http.get(f"/history/{prompt_id}").json().get(prompt_id, {})
        return entry

    def finished(self, prompt_id: str) -> dict[str, Any]:
        wait_until(lambda: bool(self.entry(prompt_id)), within=20, what="the prompt is in the history")
        return self.entry(prompt_id)

    def picture(self, prompt_id: str) -> httpx.Response:
        return self.http.get("/view", params=self.finished(prompt_id)["outputs"]["9"]["images"][0])

    def queue(self) -> dict[str, Any]:
        queue: dict[str, Any] = self.http.get("/queue").json()
        return queue

    def wait_until_running(self) -> None:
        wait_until(lambda: bool(self.queue()["queue_running"]), within=20, what="a prompt runs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    with comfyui_running(tmp_path_factory.mktemp("comfyui"), image_seconds=0.1) as running:
        yield running


@pytest.fixture
def client(server: ComfyUIServer) -> Client:
    server.disarm()
    server.restart()
    return Client(server)


def runs_of(client: Client, *prompt_ids: str) -> list[dict[str, Any]]:
    return [run for run in client.server.runs() if run["prompt_id"] in prompt_ids]


def test_prompts_run_one_after_the_other_and_the_log_tells_when(client: Client) -> None:
    submitted = [client.submit(graph(seed), extra_data={"scene": seed}) for seed in range(3)]
    client.finished(submitted[-1])
    runs = runs_of(client, *submitted)
    assert [run["prompt_id"] for run in runs] == submitted
    assert [run["extra_data"]["scene"] for run in runs] == [0, 1, 2]
    assert all(run["images"] == 1 and run["status"] == "success" for run in runs)
    assert all(run["ended"] - run["started"] >= 0.1 for run in runs)
    assert all(earlier["ended"] <= later["started"] for earlier, later in pairwise(runs))
    assert all(run["filename_prefix"] == "job/scene/img" for run in runs)


def test_the_front_of_the_queue_runs_first(client: Client) -> None:
    first = client.submit(graph(1))
    client.wait_until_running()
    last = client.submit(graph(2))
    urgent = client.submit(graph(3), front=True)
    client.finished(last)
    assert [run["prompt_id"] for run in runs_of(client, first, last, urgent)] == [first, urgent, last]


def test_an_identical_prompt_comes_from_the_cache_and_paints_nothing(client: Client) -> None:
    once, again = client.submit(graph(7)), client.submit(graph(7))
    assert client.finished(again)["outputs"] == client.finished(once)["outputs"]
    assert [run["images"] for run in runs_of(client, once, again)] == [1, 0]


def test_another_file_name_saves_the_cached_picture_anew(client: Client) -> None:
    once, again = client.submit(graph(8, "first/img")), client.submit(graph(8, "second/img"))
    assert client.finished(again)["outputs"]["9"]["images"][0]["subfolder"] == "second"
    cached = dict(client.finished(again)["status"]["messages"])["execution_cached"]["nodes"]
    assert set(cached) == {"3", "4", "5", "6", "7", "8"}
    assert client.finished(once)["status"]["completed"]


def test_pictures_have_the_size_asked_for_and_are_the_same_for_the_same_inputs(client: Client) -> None:
    first = client.picture(client.submit(graph(9))).content
    client.server.restart()
    second = client.picture(client.submit(graph(9, "other/img"))).content
    other = client.picture(client.submit(graph(10))).content
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in (first, second, other)]
    assert pictures[0].size == (WIDTH, HEIGHT)
    assert pictures[0].tobytes() == pictures[1].tobytes() != pictures[2].tobytes()


def test_every_fault_can_be_armed_by_name(client: Client) -> None:
    for fault in Fault:
        client.server.arm(fault, times=2)
    listing = client.http.get("/standin/faults").json()
    assert [armed["fault"] for armed in listing["armed"]] == listing["known"] == list(Fault)
    assert client.http.post("/standin/faults", json={"name": "no_such_fault"}).status_code == 422


def test_a_500_may_or_may_not_mean_that_the_prompt_is_queued(client: Client) -> None:
    for fault, is_queued in ((Fault.PROMPT_ANSWERS_500, False), (Fault.QUEUED_BUT_500, True)):
        client.server.arm(fault)
        prompt_id = str(uuid.uuid4())
        answer = client.http.post("/prompt", json={"prompt": graph(), "prompt_id": prompt_id})
        assert answer.status_code == 500
        if is_queued:
            assert client.finished(prompt_id)["status"]["completed"]
        else:
            assert client.http.get(f"/api/jobs/{prompt_id}").status_code == 404


def test_a_dropped_reply_leaves_the_prompt_queued(client: Client) -> None:
    client.server.arm(Fault.REPLY_DROPPED)
    prompt_id = str(uuid.uuid4())
    with pytest.raises(httpx.TransportError):
        client.submit(graph(), prompt_id=prompt_id)
    assert client.finished(prompt_id)["status"]["completed"]


def test_a_slow_reply_comes_after_the_client_has_given_up(client: Client) -> None:
    client.server.arm(Fault.SLOW_REPLY, seconds=5)
    prompt_id = str(uuid.uuid4())
    with pytest.raises(httpx.ReadTimeout):
        client.http.post("/prompt", json={"prompt": graph(), "prompt_id": prompt_id}, timeout=0.5)
    assert client.finished(prompt_id)["status"]["completed"]


def test_lost_state_leaves_neither_queue_nor_history(client: Client) -> None:
    client.server.arm(Fault.STATE_LOST)
    lost = [client.submit(graph(seed)) for seed in (1, 2)]
    wait_until(lambda: bool(runs_of(client, *lost)), within=20, what="the state is lost")
    wait_until(lambda: not client.queue()["queue_running"], within=20, what="the queue is empty")
    assert [run["status"] for run in runs_of(client, *lost)] == ["lost"]
    assert client.queue() == {"queue_running": [], "queue_pending": []}
    assert client.http.get("/history").json() == {}
    assert client.http.post("/prompt", json={"prompt": graph()}).json()["number"] == 0


def test_a_dead_executor_accepts_everything_and_runs_nothing_until_a_restart(client: Client) -> None:
    client.server.arm(Fault.EXECUTOR_DEATH)
    dead = client.submit(graph(1))
    waiting = client.submit(graph(2))
    client.wait_until_running()
    client.http.post("/interrupt")
    assert client.queue()["queue_running"][0][1] == dead
    assert client.queue()["queue_pending"][0][1] == waiting
    client.server.restart()
    assert client.finished(client.submit(graph(3)))["status"]["completed"]


def test_a_node_without_inputs_kills_the_executor(client: Client) -> None:
    client.submit({**graph(), "77": {"class_type": "EmptyImage"}})
    behind = client.submit(graph(2))
    client.wait_until_running()
    client.http.post("/queue", json={"clear": True})
    assert client.queue()["queue_pending"] == []
    assert client.entry(behind) == {}


@pytest.mark.parametrize(
    ("fault", "exception"), [(Fault.NODE_ERROR, "RuntimeError"), (Fault.OUT_OF_MEMORY, "torch.OutOfMemoryError")]
)
def test_a_failing_sampler_ends_the_prompt_with_an_error(client: Client, fault: Fault, exception: str) -> None:
    client.server.arm(fault)
    status = client.finished(client.submit(graph()))["status"]
    kind, message = status["messages"][-1]
    assert (status["status_str"], status["completed"], kind) == ("error", False, "execution_error")
    assert (message["node_id"], message["exception_type"]) == ("3", exception)


def test_a_hanging_sampler_ends_only_when_interrupted(client: Client) -> None:
    client.server.arm(Fault.HANG)
    hanging = client.submit(graph())
    client.wait_until_running()
    client.http.post("/interrupt", json={"prompt_id": str(uuid.uuid4())})
    assert client.queue()["queue_running"][0][1] == hanging
    client.http.post("/interrupt", json={"prompt_id": hanging})
    assert client.finished(hanging)["status"]["messages"][-1][0] == "execution_interrupted"


def test_a_black_picture_is_black_and_a_wrong_one_has_half_the_size(client: Client) -> None:
    client.server.arm(Fault.BLACK_PICTURE)
    black = Image.open(io.BytesIO(client.picture(client.submit(graph(1))).content))
    assert black.convert("L").getextrema() == (0, 0)
    client.server.arm(Fault.WRONG_SIZE_PICTURE)
    small = Image.open(io.BytesIO(client.picture(client.submit(graph(2))).content))
    assert small.size == (WIDTH // 2, HEIGHT // 2)


def test_a_truncated_picture_does_not_decode(client: Client) -> None:
    client.server.arm(Fault.TRUNCATED_PICTURE)
    data = client.picture(client.submit(graph())).content
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(data)).load()


def test_a_missing_file_is_missing_once(client: Client) -> None:
    client.server.arm(Fault.MISSING_FILE)
    prompt_id = client.submit(graph())
    assert client.picture(prompt_id).status_code == 404
    assert client.picture(prompt_id).status_code == 200


def test_a_fault_spares_the_occasions_before_it(client: Client) -> None:
    client.server.arm(Fault.NODE_ERROR, after=1)
    outcomes = [client.finished(client.submit(graph(seed)))["status"]["status_str"] for seed in range(3)]
    assert outcomes == ["success", "error", "success"]


def test_history_may_come_late_after_execution_success(client: Client) -> None:
    client.server.arm(Fault.LATE_HISTORY, seconds=1)
    with connect(f"{client.server.url.replace('http', 'ws', 1)}/ws?clientId=late") as socket:
        prompt_id = client.submit(graph(), client_id="late")
        while '"execution_success"' not in socket.recv(timeout=20):
            pass
        assert client.entry(prompt_id) == {}
        assert client.queue()["queue_running"][0][1] == prompt_id
        assert client.finished(prompt_id)["status"]["completed"]


def test_a_deaf_websocket_hears_nothing(client: Client) -> None:
    client.server.arm(Fault.DEAF_WEBSOCKET)
    url = f"{client.server.url.replace('http', 'ws', 1)}/ws"
    with connect(f"{url}?clientId=deaf") as deaf, connect(f"{url}?clientId=well") as well:
        client.finished(client.submit(graph(), client_id="deaf"))
        assert "status" in well.recv(timeout=20)
        with pytest.raises(TimeoutError):
            deaf.recv(timeout=0)


def test_a_file_is_not_sent_again_to_whoever_has_it(client: Client) -> None:
    prompt_id = client.submit(graph())
    etag = client.picture(prompt_id).headers["etag"]
    params = client.finished(prompt_id)["outputs"]["9"]["images"][0]
    assert client.http.get("/view", params=params, headers={"if-none-match": etag}).status_code == 304


def test_pictures_and_log_outlive_the_process(tmp_path: Path) -> None:
    for expected in (1, 2):
        with comfyui_running(tmp_path) as server:
            client = Client(server)
            name = client.finished(client.submit(graph()))["outputs"]["9"]["images"][0]["filename"]
            assert name == f"img_0000{expected}_.png"
            assert server.images_painted() == expected
