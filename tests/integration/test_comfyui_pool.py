"""Several ComfyUI servers as one: pictures move away from a server that fails, and are found wherever they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from redis.asyncio import Redis

from flows.measures import Stopwatch
from tabario import names
from tabario.clients.comfyui import ComfyUIPool, Graph, Observe, Patience, server_name
from tabario.clients.comfyui.routes import unobserved
from tabario.errors import ImageTimedOut, RetryLater
from tabario.film.pictures import check_picture
from tabario.formats import FrameSize
from tabario.places import Turn
from tabario.places.board import Board
from tabario.styles.workflow import build_graph
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.relay import Relay, relay_running
from tests.support.servers import free_port
from tests.support.waiting import eventually

SIZE = FrameSize(256, 256)
PATIENCE = Patience(image=30, outage=1, poll=0.05, settle=0.2)
TURN = Turn("job", 1, "m")


@pytest.fixture(scope="module")
def standins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ComfyUIServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(comfyui_running(tmp_path_factory.mktemp(name))) for name in ("one", "two")]


@pytest.fixture
def servers(standins: list[ComfyUIServer]) -> Iterator[list[ComfyUIServer]]:
    """Two stand-ins without faults, queue or history."""
    yield standins
    for server in standins:
        server.disarm()
        server.restart()


@pytest.fixture
def board(redis: Redis) -> Board:
    return Board(redis, places=2)


@pytest.fixture
async def pool(servers: list[ComfyUIServer], board: Board) -> AsyncIterator[ComfyUIPool]:
    async with pool_of([server.url for server in servers], board) as opened:
        yield opened


def pool_of(urls: list[str], board: Board, patience: Patience = PATIENCE, observe: Observe = unobserved) -> ComfyUIPool:
    return ComfyUIPool(urls, board=board, places=2, patience=patience, observe=observe)


def graph_of(prompt_id: UUID) -> Graph:
    return build_graph(
        "text2image",
        prompt=f"a lighthouse, {prompt_id}",
        negative_prompt="text",
        size=SIZE,
        seed=7,
        filename_prefix=f"test/{prompt_id}",
    )


async def paint(
    pool: ComfyUIPool,
    prompt_id: UUID | None = None,
    turn: Turn = TURN,
    on_place: Callable[[], None] = lambda: None,
) -> bytes:
    prompt_id = prompt_id or uuid4()
    _, data = await pool.paint(
        graph_of(prompt_id), prompt_id=prompt_id, extra_data={"job_id": turn.job}, turn=turn, on_place=on_place
    )
    return data


class Looks:
    """Counts the answers about what a server has painted."""

    def __init__(self) -> None:
        self.answers = 0

    async def __call__(self, endpoint: str, outcome: str, seconds: float) -> None:  # noqa: ARG002 - of the protocol
        self.answers += (endpoint, outcome) == ("/history", "2xx")


def paid(servers: list[ComfyUIServer], prompt_ids: list[UUID]) -> int:
    wanted = {str(prompt_id) for prompt_id in prompt_ids}
    return sum(run["images"] for server in servers for run in server.runs() if run["prompt_id"] in wanted)


async def until_running(server: ComfyUIServer) -> str:
    running: list[str] = []

    async def is_there() -> bool:
        async with httpx.AsyncClient(base_url=server.url) as http:
            running[:] = [row[1] for row in (await http.get("/queue")).json()["queue_running"]]
        return bool(running)

    await eventually(is_there, within=20, what="a prompt runs")
    return running[0]


async def until_pending(server: ComfyUIServer) -> None:
    async def is_there() -> bool:
        async with httpx.AsyncClient(base_url=server.url) as http:
            return bool((await http.get("/queue")).json()["queue_pending"])

    await eventually(is_there, within=20, what="a prompt is pending")


async def test_pictures_are_shared_out_among_the_servers(servers: list[ComfyUIServer], pool: ComfyUIPool) -> None:
    prompt_ids = [uuid4() for _ in range(8)]
    for data in await asyncio.gather(*(paint(pool, prompt_id) for prompt_id in prompt_ids)):
        check_picture(data, SIZE)
    shares = [paid([server], prompt_ids) for server in servers]
    assert sum(shares) == 8
    assert min(shares) > 0


async def test_server_that_is_not_there_costs_no_picture(servers: list[ComfyUIServer], board: Board) -> None:
    async with pool_of([f"http://127.0.0.1:{free_port()}", servers[0].url], board) as pool:
        for data in await asyncio.gather(*(paint(pool) for _ in range(4))):
            check_picture(data, SIZE)


async def test_picture_of_a_server_that_dies_is_painted_by_another(
    tmp_path: Path, servers: list[ComfyUIServer], board: Board
) -> None:
    with comfyui_running(tmp_path / "dying") as dying:
        dying.arm("hang")
        await board.drain(server_name(servers[0].url))
        async with pool_of([dying.url, servers[0].url], board) as pool:
            painting = asyncio.create_task(paint(pool))
            await until_running(dying)
            await board.refill(server_name(servers[0].url))
            dying.kill()
            check_picture(await painting, SIZE)


async def test_picture_behind_a_dead_executor_is_painted_by_another_server(
    servers: list[ComfyUIServer], board: Board
) -> None:
    one, two = servers
    one.arm("executor_death")
    await board.drain(server_name(two.url))
    async with pool_of([one.url, two.url], board, Patience(image=1, outage=1, poll=0.05)) as pool:
        head, behind = asyncio.create_task(paint(pool)), asyncio.create_task(paint(pool))
        await until_running(one)
        await board.refill(server_name(two.url))
        outcomes = await asyncio.gather(head, behind, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [ImageTimedOut.__name__, "bytes"]


async def test_prompt_of_a_process_that_died_is_found_at_whichever_server_has_it(
    servers: list[ComfyUIServer], pool: ComfyUIPool
) -> None:
    for server in servers:
        prompt_id = uuid4()
        async with AsyncExitStack() as stack:
            urls = [server.url]
            other_board = Board(await stack.enter_async_context(Redis.from_url("redis://127.0.0.1:1")), places=2)
            alone = await stack.enter_async_context(pool_of(urls, other_board))
            await paint(alone, prompt_id)
        check_picture(await paint(pool, prompt_id), SIZE)
        assert paid(servers, [prompt_id]) == 1


async def test_two_processes_that_want_the_same_picture_pay_once(
    servers: list[ComfyUIServer], pool: ComfyUIPool, board: Board
) -> None:
    prompt_id = uuid4()
    async with pool_of([server.url for server in servers], board) as second:
        pictures = await asyncio.gather(paint(pool, prompt_id), paint(second, prompt_id))
    assert pictures[0] == pictures[1]
    assert paid(servers, [prompt_id]) == 1


async def test_job_that_waited_for_another_ones_picture_finds_it_at_a_server_that_is_busier_by_then(
    servers: list[ComfyUIServer], board: Board, redis: Redis
) -> None:
    one, two = servers
    urls, prompt_id, looks = [server.url for server in servers], uuid4(), Looks()
    patient = replace(PATIENCE, outage=60)
    one.arm("hang")
    for server in servers:
        await board.drain(server_name(server.url))

    async def first_waits() -> bool:
        return bool(await redis.hexists(names.PLACES_KEY, str(prompt_id)))

    async def second_has_looked() -> bool:
        return looks.answers == len(servers)

    async with pool_of(urls, board, patient) as pool, pool_of(urls, board, patient, looks) as other_pool:
        first = asyncio.create_task(paint(pool, prompt_id, Turn("first", 1, "m")))
        await eventually(first_waits, within=20, what="the first job waits for a place")
        second = asyncio.create_task(paint(other_pool, prompt_id, Turn("second", 1, "m")))
        await eventually(second_has_looked, within=20, what="the second job has found nothing")
        await board.refill(server_name(one.url))
        await until_running(one)
        await board.drain(server_name(one.url))
        await board.refill(server_name(two.url))
        one.http.post("/interrupt").raise_for_status()  # ends the hang, not the order
        assert await first == await second
    assert (paid([one], [prompt_id]), paid([two], [prompt_id])) == (1, 0)


async def sent_by_a_dead_process(server: ComfyUIServer, name: str, board: Board) -> UUID:
    """A prompt that hangs there, until it is interrupted."""
    prompt_id = uuid4()
    server.arm("hang")
    await board.give(str(prompt_id), name)
    body = {"prompt": graph_of(prompt_id).nodes, "prompt_id": str(prompt_id), "extra_data": {"job_id": TURN.job}}
    server.http.post("/prompt", json=body).raise_for_status()
    await until_running(server)
    return prompt_id


async def moved_from_a_server_that_is_cut_off(
    pool: ComfyUIPool, servers: list[ComfyUIServer], relay: Relay, board: Board
) -> tuple[UUID, asyncio.Task[bytes]]:
    """A picture that hangs at both servers: the first one is cut off with it, but goes on."""
    one, two = servers
    prompt_id = uuid4()
    for server in servers:
        server.arm("hang")
    await board.drain(server_name(two.url))
    painting = asyncio.create_task(paint(pool, prompt_id))
    await until_running(one)
    relay.cut()
    await board.refill(server_name(two.url))
    await until_running(two)
    return prompt_id, painting


async def until_taken_back(server: ComfyUIServer, prompt_id: UUID) -> None:
    async def is_taken_back() -> bool:
        return [run["status"] for run in server.runs() if run["prompt_id"] == str(prompt_id)] == ["interrupted"]

    await eventually(is_taken_back, within=20, what="the prompt has been taken back")


async def test_server_that_was_cut_off_does_not_paint_what_another_one_has_painted(
    servers: list[ComfyUIServer], board: Board
) -> None:
    one, two = servers
    async with relay_running(one.url) as relay, pool_of([relay.url, two.url], board) as pool:
        prompt_id, painting = await moved_from_a_server_that_is_cut_off(pool, servers, relay, board)
        relay.mend()
        two.http.post("/interrupt").raise_for_status()  # ends the hang, not the order
        check_picture(await painting, SIZE)
        await until_taken_back(one, prompt_id)
    assert (paid([one], [prompt_id]), paid([two], [prompt_id])) == (0, 1)


@pytest.mark.parametrize("fault", [Relay.cut, Relay.hush])
async def test_server_that_comes_back_later_is_relieved_at_the_end_of_the_job(
    servers: list[ComfyUIServer], board: Board, fault: Callable[[Relay], None]
) -> None:
    one, two = servers
    async with relay_running(one.url) as relay:
        async with pool_of([relay.url, two.url], board) as pool:
            prompt_id, painting = await moved_from_a_server_that_is_cut_off(pool, servers, relay, board)
            fault(relay)
            two.http.post("/interrupt").raise_for_status()
            check_picture(await painting, SIZE)
            relay.mend()
        await until_taken_back(one, prompt_id)
    assert (paid([one], [prompt_id]), paid([two], [prompt_id])) == (0, 1)


@pytest.mark.parametrize("fault", [Relay.cut, Relay.hush])
async def test_server_that_has_the_picture_of_a_dead_process_is_asked_again_when_it_does_not_answer(
    servers: list[ComfyUIServer], board: Board, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Relay], None]
) -> None:
    monkeypatch.setattr("tabario.clients.comfyui.client.LOOK_SECONDS", 0.2)
    one, two = servers
    async with (
        relay_running(one.url) as relay,
        pool_of([relay.url, two.url], board, replace(PATIENCE, outage=60)) as pool,
    ):
        prompt_id = await sent_by_a_dead_process(one, server_name(relay.url), board)
        fault(relay)
        painting = asyncio.create_task(paint(pool, prompt_id))

        async def is_asked_again() -> bool:
            return relay.attempts > 1 or painting.done()

        await eventually(is_asked_again, within=20, what="the server is asked again")
        relay.mend()
        one.http.post("/interrupt").raise_for_status()
        check_picture(await painting, SIZE)
    assert (paid([one], [prompt_id]), paid([two], [prompt_id])) == (1, 0)


async def test_picture_of_a_dead_process_whose_server_stays_away_is_painted_by_another(
    servers: list[ComfyUIServer], board: Board
) -> None:
    one, two = servers
    async with relay_running(one.url) as relay, pool_of([relay.url, two.url], board) as pool:
        prompt_id = await sent_by_a_dead_process(one, server_name(relay.url), board)
        relay.cut()
        check_picture(await paint(pool, prompt_id), SIZE)
    assert paid([two], [prompt_id]) == 1


async def test_server_that_does_not_answer_holds_up_no_picture_that_it_never_had(
    servers: list[ComfyUIServer], board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabario.clients.comfyui.pool.MOVE_SECONDS", 600)
    one, two = servers
    async with (
        relay_running(one.url) as relay,
        pool_of([relay.url, two.url], board, replace(PATIENCE, outage=600)) as pool,
    ):
        relay.cut()
        async with asyncio.timeout(60):
            check_picture(await paint(pool), SIZE)


async def test_picture_that_moves_is_timed_from_its_first_place(servers: list[ComfyUIServer], board: Board) -> None:
    one, two = servers
    one.arm("executor_death")
    await board.drain(server_name(two.url))
    watch, places = Stopwatch(), list[float]()

    def on_place() -> None:
        places.append(time.monotonic())
        watch.restart()

    async with pool_of([one.url, two.url], board, Patience(image=1, outage=1, poll=0.05)) as pool:
        head = asyncio.create_task(paint(pool))
        await until_running(one)
        behind = asyncio.create_task(paint(pool, on_place=on_place))
        await until_pending(one)
        await board.refill(server_name(two.url))
        check_picture(await behind, SIZE)
        taken = watch.seconds
        since_first_place = time.monotonic() - places[0]
        with pytest.raises(ImageTimedOut):
            await head
    assert since_first_place > 0.5
    assert taken == pytest.approx(since_first_place, abs=0.1)


async def test_draining_server_finishes_what_it_has_and_gets_nothing_new(
    servers: list[ComfyUIServer], pool: ComfyUIPool, board: Board
) -> None:
    await board.drain(server_name(servers[0].url))
    prompt_ids = [uuid4() for _ in range(4)]
    await asyncio.gather(*(paint(pool, prompt_id) for prompt_id in prompt_ids))
    assert paid([servers[0]], prompt_ids) == 0
    assert paid([servers[1]], prompt_ids) == 4


async def test_no_server_at_all_is_left_for_later(board: Board) -> None:
    async with pool_of([f"http://127.0.0.1:{free_port()}"], board, Patience(image=30, outage=0.2, poll=0.05)) as pool:
        with pytest.raises(RetryLater):
            await paint(pool)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://10.0.0.4:8188", "10.0.0.4:8188"),
        ("https://user:secret@gpu.example/comfy/", "gpu.example:443/comfy"),
    ],
)
def test_server_is_named_without_its_password(url: str, name: str) -> None:
    assert server_name(url) == name
