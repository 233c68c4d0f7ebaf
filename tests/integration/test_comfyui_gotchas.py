"""Every gotcha of ComfyUI that a client must handle, by name, and how a loop of pictures ends under it.

The loop ends right, or fails with the right reason: nothing hangs, and nothing is paid for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from tabario.clients.comfyui import ComfyUIPool, Graph, Patience
from tabario.errors import ImageFailed, ImageTimedOut, RetryLater
from tabario.film.pictures import check_picture
from tabario.formats import FrameSize
from tabario.places import Turn
from tabario.places.board import Board
from tabario.styles.workflow import build_graph
from tests.integration import test_comfyui_client, test_comfyui_pool, test_places
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.waiting import eventually
from tests.unit import test_comfyui_painting, test_comfyui_replies, test_comfyui_wakeups, test_workflow

SIZE: Final = FrameSize(256, 256)
PICTURES: Final = 3
SURE: Final = Patience(image=30, outage=10, poll=0.1, settle=0.3)
SHORT: Final = Patience(image=1, outage=0.5, poll=0.05, settle=0.2)

Meddle = Callable[[ComfyUIServer], None]
Change = Callable[[Graph], None]


@dataclass(frozen=True)
class Gotcha:
    """How it comes about, and how the loop ends.

    `faults` are armed before; `meddle` is what somebody else does to the server once it runs a picture of ours;
    `change` is done to each graph. `fails` is a part of the reason; without one all pictures are painted, and `paid`
    is how many the server painted in all. `short` makes the loop impatient.
    """

    faults: dict[str, dict[str, Any]] = field(default_factory=dict)
    meddle: Meddle | None = None
    change: Change | None = None
    fails: tuple[type[Exception], str] | None = None
    paid: int = PICTURES
    short: bool = False


def restart(server: ComfyUIServer) -> None:
    server.restart()


def interrupt_all(server: ComfyUIServer) -> None:
    server.http.post("/interrupt").raise_for_status()


def clear_queue(server: ComfyUIServer) -> None:
    server.http.post("/queue", json={"clear": True}).raise_for_status()
    interrupt_all(server)


def forget_history(server: ComfyUIServer) -> None:
    """What eviction does to an old entry; the running picture goes on."""
    interrupt_all(server)
    server.http.post("/history", json={"clear": True}).raise_for_status()


def with_broken_branch(graph: Graph) -> None:
    graph.nodes["99"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "broken"}}


def with_two_saved_pictures(graph: Graph) -> None:
    graph.nodes["0"] = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 9}}
    graph.nodes["00"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "other", "images": ["0", 0]}}


def with_preview(graph: Graph) -> None:
    graph.nodes["98"] = {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}}


def with_batch(graph: Graph) -> None:
    graph.nodes["4"]["inputs"]["batch_size"] = 2


def with_missing_model(graph: Graph) -> None:
    graph.nodes["1"]["inputs"]["ckpt_name"] = "nosuch.safetensors"


def with_missing_node(graph: Graph) -> None:
    graph.nodes["97"] = {"class_type": "NobodyHasThis", "inputs": {}}


GOTCHAS: Final[dict[str, Gotcha]] = {
    # waiting
    "an empty history means pending, running, lost or unknown": Gotcha({"state_lost": {}}),
    "a restart loses queue and history without a word": Gotcha({"hang": {}}, restart),
    "not in the queue is not done: somebody cleared it": Gotcha({"hang": {}}, clear_queue),
    "the history forgets old entries": Gotcha({"hang": {}}, forget_history),
    "success is told before the history has it": Gotcha({"late_history": {"seconds": 0.5, "times": 3}}),
    # submitting
    "the reply to a submission is lost, the prompt is queued": Gotcha({"reply_dropped": {"times": 2}}),
    "the reply to a submission is late": Gotcha({"slow_reply": {"seconds": 0.6, "times": 3}}),
    "500, and yet it is queued": Gotcha({"queued_but_500": {"times": 2}}),
    "500, and nothing is queued": Gotcha({"prompt_answers_500": {"times": 2}}),
    "500 for ever": Gotcha({"prompt_answers_500": {"times": 99}}, fails=(RetryLater, "3 times"), paid=0, short=True),
    "200 with node_errors: a branch was dropped, the others run": Gotcha(
        {"hang": {"times": 3}}, change=with_broken_branch, fails=(ImageFailed, "images"), paid=0
    ),
    "400: a model is not installed": Gotcha(change=with_missing_model, fails=(ImageFailed, "nosuch"), paid=0),
    "400: a node class is not installed": Gotcha(
        change=with_missing_node, fails=(ImageFailed, "NobodyHasThis"), paid=0
    ),
    "the executor died and takes everything": Gotcha(
        {"executor_death": {}}, fails=(ImageTimedOut, "restart ComfyUI"), paid=0, short=True
    ),
    # running
    "a node fails": Gotcha({"node_error": {"times": 3}}, fails=(ImageFailed, "RuntimeError"), paid=0),
    "the graphics memory is full": Gotcha({"out_of_memory": {"times": 3}}, fails=(ImageFailed, "OutOfMemory"), paid=0),
    "a prompt never ends": Gotcha(
        {"hang": {"times": 9}}, fails=(ImageTimedOut, "more than 1 seconds"), paid=0, short=True
    ),
    "somebody interrupts whatever runs": Gotcha({"hang": {}}, interrupt_all),
    # websocket
    "the websocket is deaf, or blocked by one who stopped reading": Gotcha({"deaf_websocket": {"times": 99}}),
    # outputs and files
    "the order of output nodes varies": Gotcha(change=with_two_saved_pictures),
    "temporary previews stand among the outputs": Gotcha(change=with_preview),
    "a batch gives several files": Gotcha(change=with_batch, fails=(ImageFailed, "saved 2 pictures"), paid=6),
    "the file of a cached picture is gone": Gotcha({"missing_file": {}}, fails=(ImageFailed, "cannot be read")),
    "the file is cut short": Gotcha({"truncated_picture": {}}, fails=(ImageFailed, "broken or cut short")),
    "the picture is black": Gotcha({"black_picture": {}}, fails=(ImageFailed, "black picture")),
    "the picture has another size": Gotcha({"wrong_size_picture": {}}, fails=(ImageFailed, "128x128")),
}

ELSEWHERE: Final[dict[str, Callable[..., Any]]] = {
    "the same id is accepted twice": test_comfyui_client.test_prompt_of_a_process_that_died_is_adopted,
    "an identical prompt is answered from the cache, with the old file": (
        test_comfyui_client.test_picture_in_the_servers_cache_is_saved_under_a_name_of_its_own
    ),
    "without a client id, progress goes to everybody": (
        test_comfyui_client.test_picture_is_painted_once_and_delivered_whole
    ),
    "two clients want the same prompt": test_comfyui_pool.test_two_processes_that_want_the_same_picture_pay_once,
    "/interrupt stops somebody else's prompt": test_comfyui_painting.test_old_server_cancels_this_prompt_only,
    "a delete does nothing to a running prompt": (
        test_comfyui_client.test_cancelling_a_running_picture_stops_it_at_the_server
    ),
    "/api/jobs is not there in old versions": test_comfyui_painting.test_old_server_cancels_this_prompt_only,
    "other models are reloaded every time": test_places.test_pictures_of_one_model_go_together_but_not_for_ever,
    "a client id in use makes the new socket deaf": (
        test_comfyui_wakeups.test_every_connection_has_a_fresh_client_id_and_wakes
    ),
    "binary frames are no JSON": test_comfyui_wakeups.test_status_message_wakes_and_nothing_else_does,
    "texts and flags stand among the files": (
        test_comfyui_replies.test_picture_is_chosen_by_its_node_and_only_saved_files_count
    ),
    "a node without inputs kills the executor": test_workflow.test_node_without_inputs_is_refused,
    "an uploaded file gets another name": (test_comfyui_client.test_second_upload_under_a_name_gets_a_name_of_its_own),
}


@pytest.fixture(scope="module", params=["0.33.0", "0.3.64"])
def standin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    with comfyui_running(tmp_path_factory.mktemp("comfyui"), version=request.param) as server:
        yield server


@pytest.fixture
def server(standin: ComfyUIServer) -> Iterator[ComfyUIServer]:
    """The stand-in without faults, queue or history."""
    yield standin
    standin.disarm()
    standin.restart()


@pytest.fixture
def gotcha(request: pytest.FixtureRequest) -> Gotcha:
    return GOTCHAS[request.param]


@pytest.fixture
async def pool(server: ComfyUIServer, gotcha: Gotcha, redis: Redis) -> AsyncIterator[ComfyUIPool]:
    patience = SHORT if gotcha.short else SURE
    async with ComfyUIPool([server.url], board=Board(redis, places=2), places=2, patience=patience) as opened:
        yield opened


async def paint(pool: ComfyUIPool, prompt_id: UUID, change: Change | None) -> None:
    graph = build_graph(
        "text2image",
        prompt=f"a lighthouse, {prompt_id}",
        negative_prompt="text",
        size=SIZE,
        seed=7,
        filename_prefix=f"gotcha/{prompt_id}",
    )
    if change is not None:
        change(graph)
    job = {"job_id": "ours"}
    turn = Turn("ours", 1, graph.model)
    _, data = await pool.paint(graph, prompt_id=prompt_id, extra_data=job, turn=turn, on_place=lambda: None)
    check_picture(data, SIZE)


async def loop(pool: ComfyUIPool, prompt_ids: list[UUID], change: Change | None) -> list[Exception]:
    """What went wrong, of several pictures at once."""
    paintings = (paint(pool, prompt_id, change) for prompt_id in prompt_ids)
    outcomes = await asyncio.gather(*paintings, return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


async def is_running(server: ComfyUIServer) -> bool:
    return bool(server.http.get("/queue").json()["queue_running"])


@pytest.mark.parametrize("gotcha", GOTCHAS, indirect=True)
async def test_loop_ends_right_or_fails_with_the_right_reason(
    server: ComfyUIServer, pool: ComfyUIPool, gotcha: Gotcha
) -> None:
    for fault, how in gotcha.faults.items():
        server.arm(fault, **how)
    prompt_ids = [uuid4() for _ in range(PICTURES)]
    looping = asyncio.create_task(loop(pool, prompt_ids, gotcha.change))
    if gotcha.meddle is not None:
        await eventually(partial(is_running, server), within=20, what="a picture is being painted")
        gotcha.meddle(server)
    errors = await looping

    if gotcha.fails is None:
        assert errors == []
    else:
        kind, reason = gotcha.fails
        told = [error for error in errors if isinstance(error, kind) and reason in str(error)]
        assert told, errors
        if isinstance(told[0], ImageFailed):
            assert told[0].reason == ("timeout" if kind is ImageTimedOut else "error")
    wanted = {str(prompt_id) for prompt_id in prompt_ids}
    assert sum(run["images"] for run in server.runs() if run["prompt_id"] in wanted) == gotcha.paid
    queue = server.http.get("/queue").json()
    assert queue["queue_pending"] == []


@pytest.mark.parametrize("name", ELSEWHERE)
def test_gotcha_has_a_test_of_its_own_that_runs(name: str) -> None:
    test = ELSEWHERE[name]
    assert test.__name__.startswith("test_")
    assert not {mark.name for mark in getattr(test, "pytestmark", ())} & {"skip", "skipif", "xfail"}
