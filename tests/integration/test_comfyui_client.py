"""The client against the stand-in, in both versions whose behaviour was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tabario.clients.comfyui import ComfyUIClient, Graph, Patience
from tabario.errors import ImageFailed, ImageTimedOut, RetryLater, StageFailed
from tabario.film.pictures import check_picture
from tabario.formats import FrameSize
from tabario.styles.workflow import build_graph, missing_parts
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.servers import free_port
from tests.support.waiting import eventually

SIZE = FrameSize(256, 256)
PATIENCE = Patience(image=60, outage=60, poll=0.1, settle=0.3)
OUR_JOB = {"job_id": "ours"}


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
async def client(server: ComfyUIServer) -> AsyncIterator[ComfyUIClient]:
    async with ComfyUIClient(server.url, patience=PATIENCE) as opened:
        yield opened


@pytest.fixture
def prompt_id() -> UUID:
    return uuid4()


def graph_of(prompt_id: UUID, **changes: dict[str, Any]) -> Graph:
    graph = build_graph(
        "text2image",
        prompt=f"a lighthouse, {prompt_id}",
        negative_prompt="text",
        size=SIZE,
        seed=7,
        filename_prefix=f"test/{prompt_id}/1",
    )
    graph.nodes.update(changes)
    return graph


async def paint(client: ComfyUIClient, prompt_id: UUID, job: dict[str, str] | None = None) -> bytes:
    painted = await client.paint(graph_of(prompt_id), prompt_id=prompt_id, extra_data=job or OUR_JOB)
    return await client.fetch(painted)


async def send(server: ComfyUIServer, prompt_id: UUID, job: dict[str, str] | None = None) -> None:
    """Sends a prompt as a process does that dies right afterwards."""
    body = {"prompt": graph_of(prompt_id).nodes, "prompt_id": str(prompt_id), "extra_data": job or OUR_JOB}
    async with httpx.AsyncClient(base_url=server.url) as http:
        (await http.post("/prompt", json=body)).raise_for_status()


async def queued(server: ComfyUIServer, where: str) -> list[str]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        return [row[1] for row in (await http.get("/queue")).json()[f"queue_{where}"]]


async def until_queued(server: ComfyUIServer, prompt_id: UUID, where: str) -> None:
    async def is_there() -> bool:
        return str(prompt_id) in await queued(server, where)

    await eventually(is_there, within=20, what=f"the prompt is {where}")


async def until_idle(server: ComfyUIServer) -> None:
    async def is_idle() -> bool:
        return not await queued(server, "running") and not await queued(server, "pending")

    await eventually(is_idle, within=20, what="the queue is empty")


def endings(server: ComfyUIServer, prompt_id: UUID) -> list[str]:
    return [run["status"] for run in server.runs() if run["prompt_id"] == str(prompt_id)]


@asynccontextmanager
async def hanging(server: ComfyUIServer, client: ComfyUIClient, job: dict[str, str]) -> AsyncIterator[UUID]:
    """A prompt of some job that runs until the block ends."""
    server.arm("hang")
    prompt_id = uuid4()
    painting = asyncio.create_task(paint(client, prompt_id, job))
    await until_queued(server, prompt_id, "running")
    yield prompt_id
    painting.cancel()
    await asyncio.wait({painting})


async def cancelled(painting: asyncio.Task[bytes]) -> None:
    painting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await painting


async def test_picture_is_painted_once_and_delivered_whole(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    check_picture(await paint(client, prompt_id), SIZE)
    [run] = [run for run in server.runs() if run["prompt_id"] == str(prompt_id)]
    assert run["images"] == 1
    assert run["extra_data"].items() >= OUR_JOB.items()
    assert run["extra_data"]["client_id"] == str(prompt_id)  # without one, its progress would go to everybody


async def test_picture_in_the_servers_cache_is_saved_under_a_name_of_its_own(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    again = uuid4()
    same = graph_of(prompt_id)
    first = await client.paint(same, prompt_id=prompt_id, extra_data=OUR_JOB)
    same.nodes["7"]["inputs"]["filename_prefix"] = f"test/{again}/1"
    second = await client.paint(same, prompt_id=again, extra_data=OUR_JOB)
    assert second.file.subfolder == f"test/{again}" != first.file.subfolder
    check_picture(await client.fetch(second), SIZE)
    assert [run["images"] for run in server.runs() if run["prompt_id"] in (str(prompt_id), str(again))] == [1, 0]


async def test_several_pictures_at_once_come_to_their_own_callers(client: ComfyUIClient) -> None:
    prompt_ids = [uuid4() for _ in range(4)]
    pictures = await asyncio.gather(*(paint(client, prompt_id) for prompt_id in prompt_ids))
    again = await asyncio.gather(*(paint(client, prompt_id) for prompt_id in reversed(prompt_ids)))
    assert len(set(pictures)) == 4
    assert again == pictures[::-1]


async def test_prompt_lost_in_a_restart_is_sent_again_under_its_id(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    server.arm("state_lost")
    check_picture(await paint(client, prompt_id), SIZE)
    assert endings(server, prompt_id) == ["lost", "success"]


async def test_server_that_goes_down_and_comes_back_loses_no_picture(tmp_path: Path, prompt_id: UUID) -> None:
    port = free_port()
    async with ComfyUIClient(f"http://127.0.0.1:{port}", patience=PATIENCE) as client:
        with comfyui_running(tmp_path, port=port) as server:
            server.arm("hang")
            painting = asyncio.create_task(paint(client, prompt_id))
            await until_queued(server, prompt_id, "running")
        with comfyui_running(tmp_path, port=port):
            check_picture(await painting, SIZE)


async def test_server_that_stays_away_is_left_for_later(prompt_id: UUID) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with ComfyUIClient(nobody, patience=Patience(image=60, outage=0.2, poll=0.05)) as client:
        with pytest.raises(RetryLater, match="cannot be reached"):
            await paint(client, prompt_id)


@pytest.mark.parametrize("moment", ["running", "pending", "done"])
async def test_prompt_of_a_process_that_died_is_adopted(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID, moment: str
) -> None:
    if moment == "pending":
        async with hanging(server, client, {"job_id": "other"}):
            await send(server, prompt_id)
            painting = asyncio.create_task(paint(client, prompt_id))
            await until_queued(server, prompt_id, "pending")
    else:
        await send(server, prompt_id)
        if moment == "done":
            await until_idle(server)
        painting = asyncio.create_task(paint(client, prompt_id))
    check_picture(await painting, SIZE)
    assert endings(server, prompt_id) == ["success"]


@pytest.mark.parametrize(
    ("sender", "told"), [(None, (False, True)), (OUR_JOB, (True, True)), ({"job_id": "other"}, (True, False))]
)
async def test_picture_tells_whether_it_was_adopted_and_whose_job_had_it_painted(
    server: ComfyUIServer,
    client: ComfyUIClient,
    prompt_id: UUID,
    sender: dict[str, str] | None,
    told: tuple[bool, bool],
) -> None:
    if sender is not None:
        await send(server, prompt_id, sender)
    painted = await client.paint(graph_of(prompt_id), prompt_id=prompt_id, extra_data=OUR_JOB)
    assert (painted.adopted, painted.ours) == told


async def test_two_clients_that_want_the_same_prompt_pay_once(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    async with (
        ComfyUIClient(server.url, patience=PATIENCE) as second,
        hanging(server, client, {"job_id": "other"}),
    ):
        first_painting = asyncio.create_task(paint(client, prompt_id))
        await until_queued(server, prompt_id, "pending")
        second_painting = asyncio.create_task(paint(second, prompt_id))
        async with httpx.AsyncClient(base_url=server.url) as http:
            await http.post("/interrupt", json={"prompt_id": (await queued(server, "running"))[0]})
        assert await first_painting == await second_painting
    assert endings(server, prompt_id) == ["success"]


async def test_failure_of_an_earlier_run_does_not_stop_a_new_try(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    server.arm("node_error")
    with pytest.raises(ImageFailed):
        await paint(client, prompt_id)
    check_picture(await paint(client, prompt_id), SIZE)
    assert endings(server, prompt_id) == ["error", "success"]


async def test_invalid_branch_fails_the_picture_and_leaves_nothing_queued(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    broken = {"class_type": "SaveImage", "inputs": {"filename_prefix": "broken"}}
    async with hanging(server, client, {"job_id": "other"}):
        with pytest.raises(ImageFailed, match="images"):
            await client.paint(graph_of(prompt_id, **{"99": broken}), prompt_id=prompt_id, extra_data=OUR_JOB)
        assert await queued(server, "pending") == []


async def test_picture_that_takes_too_long_times_out_and_frees_the_server(
    server: ComfyUIServer, prompt_id: UUID
) -> None:
    server.arm("hang")
    async with ComfyUIClient(server.url, patience=Patience(image=1, poll=0.05)) as client:
        with pytest.raises(ImageTimedOut) as failure:
            await paint(client, prompt_id)
    assert failure.value.reason == "timeout"
    await until_idle(server)
    assert endings(server, prompt_id) == ["interrupted"]


async def test_dead_executor_is_noticed_by_its_prompt_and_by_those_behind(server: ComfyUIServer) -> None:
    server.arm("executor_death")
    async with ComfyUIClient(server.url, patience=Patience(image=1, poll=0.05)) as client:
        head, behind = uuid4(), uuid4()
        dying = asyncio.create_task(paint(client, head))
        await until_queued(server, head, "running")
        waiting, outcome = await asyncio.gather(paint(client, behind), dying, return_exceptions=True)
    assert isinstance(outcome, ImageTimedOut)
    assert isinstance(waiting, RetryLater)
    assert "restart ComfyUI" in str(waiting)
    assert await queued(server, "pending") == []


async def test_picture_stopped_at_the_server_by_somebody_else_is_painted_after_all(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    server.arm("hang")
    painting = asyncio.create_task(paint(client, prompt_id))
    await until_queued(server, prompt_id, "running")
    async with httpx.AsyncClient(base_url=server.url) as http:
        await http.post("/interrupt")
    check_picture(await painting, SIZE)
    assert endings(server, prompt_id) == ["interrupted", "success"]


async def test_cancelling_a_running_picture_stops_it_at_the_server(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    server.arm("hang")
    painting = asyncio.create_task(paint(client, prompt_id))
    await until_queued(server, prompt_id, "running")
    await cancelled(painting)
    await until_idle(server)
    assert endings(server, prompt_id) == ["interrupted"]


async def test_cancelling_a_waiting_picture_removes_it_and_spares_the_running_one(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    async with hanging(server, client, {"job_id": "other"}) as other:
        painting = asyncio.create_task(paint(client, prompt_id))
        await until_queued(server, prompt_id, "pending")
        await cancelled(painting)
        assert await queued(server, "pending") == []
        assert await queued(server, "running") == [str(other)]
    assert endings(server, prompt_id) == []


async def test_cancelling_while_the_submission_is_on_its_way_leaves_nothing_behind(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    async with hanging(server, client, {"job_id": "other"}):
        server.arm("slow_reply", seconds=0.5)
        painting = asyncio.create_task(paint(client, prompt_id))
        await until_queued(server, prompt_id, "pending")
        await cancelled(painting)
        assert await queued(server, "pending") == []


async def test_cancelling_spares_a_prompt_that_another_job_sent(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    async with hanging(server, client, {"job_id": "other"}):
        await send(server, prompt_id, {"job_id": "a third"})
        painting = asyncio.create_task(paint(client, prompt_id))
        await until_queued(server, prompt_id, "pending")
        await cancelled(painting)
        assert await queued(server, "pending") == [str(prompt_id)]


async def test_withdrawing_by_id_stops_that_prompt_of_that_job_and_an_unknown_id_is_no_error(
    server: ComfyUIServer, client: ComfyUIClient, prompt_id: UUID
) -> None:
    server.arm("hang")
    await send(server, prompt_id)
    await until_queued(server, prompt_id, "running")
    await client.withdraw(uuid4(), extra_data=OUR_JOB)
    await client.withdraw(prompt_id, extra_data={"job_id": "other"})
    assert await queued(server, "running") == [str(prompt_id)]
    await client.withdraw(prompt_id, extra_data=OUR_JOB)
    await until_idle(server)
    assert endings(server, prompt_id) == ["interrupted"]


async def test_server_tells_its_version_and_lacks_nothing(client: ComfyUIClient) -> None:
    stats = await client.system_stats()
    assert stats.version in ("0.33.0", "0.3.64")
    assert stats.devices
    assert missing_parts("text2image", await client.object_info()) == []


async def test_second_upload_under_a_name_gets_a_name_of_its_own(client: ComfyUIClient, prompt_id: UUID) -> None:
    first = await client.upload_image(f"{prompt_id}.png", b"one")
    second = await client.upload_image(f"{prompt_id}.png", b"two")
    assert first == f"{prompt_id}.png"
    assert second == f"{prompt_id} (1).png"


async def test_every_exchange_is_observed_without_ids(server: ComfyUIServer, prompt_id: UUID) -> None:
    seen: set[tuple[str, str]] = set()

    async def observe(endpoint: str, outcome: str, seconds: float) -> None:
        assert seconds > 0
        seen.add((endpoint, outcome))

    server.arm("missing_file")
    server.arm("prompt_answers_500")
    async with ComfyUIClient(server.url, patience=PATIENCE, observe=observe) as client:
        with pytest.raises(StageFailed):
            await paint(client, prompt_id)
    assert seen == {
        ("/queue", "2xx"),
        ("/history", "2xx"),
        ("/prompt", "5xx"),
        ("/prompt", "2xx"),
        ("/view", "4xx"),
    }
