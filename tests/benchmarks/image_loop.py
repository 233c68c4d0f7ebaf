"""How busy the image loop keeps ComfyUI, and what a kill costs.

Flow processes, Prefect and Redis are real; the stand-in paints.

Ours and the baselines run side by side, each on a stand-in of its own, so that they share the machine's every mood.
The busy share is read from the stand-in's own log: seconds in which its executor worked, over the seconds from the
first picture's beginning to the last one's end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
from rich.console import Console
from websockets.asyncio.client import connect

from flows.images import graph_of
from tabario.cli.deployment import deploy
from tabario.jobs import Job
from tabario.settings import ComfyUISettings
from tests.benchmarks.figures import Figures, Round
from tests.support.comfyui import ComfyUIServer, busy_share, comfyui_running
from tests.support.jobs import new_job, settings_for
from tests.support.killing import kill_and_resume
from tests.support.picture_loop import PictureLoop, scenes_of
from tests.support.servers import prefect_running, redis_running

PICTURES: Final = 24
PICTURE_SECONDS: Final = 2.0
POLL_SECONDS: Final = 5.0
ROUNDS: Final = 2
SPEED_UP_ROUNDS: Final = 3
KILLS: Final = 20
KILLS_AT_ONCE: Final = 2
KILLED_PICTURES: Final = 8


class Bench:
    """The servers of one benchmark."""

    def __init__(self, loop: PictureLoop, directory: Path) -> None:
        self.loop = loop
        self._directory = directory
        self._numbers = itertools.count()

    @contextmanager
    def standins(self, count: int, *, seconds: float = PICTURE_SECONDS) -> Iterator[list[ComfyUIServer]]:
        """Stand-ins whose pictures take so long."""
        with ExitStack() as stack:
            places = [self._directory / f"comfyui-{next(self._numbers)}" for _ in range(count)]
            yield [stack.enter_context(comfyui_running(place, image_seconds=seconds)) for place in places]


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Prefect and Redis, with everything deployed."""
    with tempfile.TemporaryDirectory() as name, redis_running(Path(name)) as redis:
        directory = Path(name)
        with prefect_running(directory, redis) as prefect:
            anywhere = ComfyUISettings(url="http://127.0.0.1:9")  # each process is told where its servers are
            settings = settings_for(
                prefect_url=prefect.api_url, redis_url=redis.url, directory=directory, comfyui=anywhere
            )
            await deploy(settings)
            yield Bench(PictureLoop(prefect.api_url, directory), directory)


def job_of_its_own() -> Job:
    """A job whose pictures nobody has."""
    return new_job(image_width=None, image_height=None, video_format="9:16").model_copy(
        update={"user_id": str(uuid4())}
    )


async def busy_with(bench: Bench, console: Console, jobs: int) -> Figures:
    """The busy share of ours; the baseline is the predecessor's way. The ratio is ours to the baseline's."""
    rounds = []
    for _ in range(ROUNDS):
        with bench.standins(3) as (ours, polled, told):
            await asyncio.gather(
                *(bench.loop.run(job_of_its_own(), PICTURES // jobs, ours.url) for _ in range(jobs)),
                *(one_at_a_time(polled, PICTURES // jobs, polling) for _ in range(jobs)),
                *(one_at_a_time(told, PICTURES // jobs, listening) for _ in range(jobs)),
            )
            mine, by_polling, by_websocket = (busy_share(server) for server in (ours, polled, told))
        console.print(
            f"  {jobs} job(s), busy: ours {mine:.2%}, one at a time with {POLL_SECONDS:.0f} s polling "
            f"{by_polling:.2%}, one at a time with websocket {by_websocket:.2%}"
        )
        rounds.append(Round(ours=mine, baseline=by_polling, limit=1.0, ratio=mine / by_polling))
    return Figures.of(rounds, unit="busy share")


Waiting = Callable[[httpx.AsyncClient, str, str], Awaitable[dict[str, Any]]]


async def one_at_a_time(server: ComfyUIServer, pictures: int, wait: Waiting) -> None:
    """A job that sends a picture, waits for it in some way, downloads it, and only then sends the next."""
    job = job_of_its_own()
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        for scene in scenes_of(job, pictures):
            client_id = uuid4().hex
            graph = graph_of(job, scene, attempt=1, filename_prefix=f"baseline/{uuid4()}")
            outputs = await wait(http, client_id, json.dumps({"prompt": graph.nodes, "client_id": client_id}))
            [file] = outputs[graph.output_node]["images"]
            (await http.get("/view", params=file)).raise_for_status()


async def polling(http: httpx.AsyncClient, _client_id: str, body: str) -> dict[str, Any]:
    """Asks the history every `POLL_SECONDS`, as the predecessor did."""
    prompt_id = (await http.post("/prompt", content=body)).raise_for_status().json()["prompt_id"]
    while True:
        entry = (await http.get(f"/history/{prompt_id}")).json().get(prompt_id)
        if entry:
            return dict(entry["outputs"])
        await asyncio.sleep(POLL_SECONDS)


async def listening(http: httpx.AsyncClient, client_id: str, body: str) -> dict[str, Any]:
    """Waits for the websocket to say that the prompt has run."""
    address = str(http.base_url).replace("http", "ws", 1).rstrip("/")
    async with connect(f"{address}/ws?clientId={client_id}", max_size=None) as socket:
        prompt_id = (await http.post("/prompt", content=body)).raise_for_status().json()["prompt_id"]
        async for message in socket:
            told = json.loads(message) if isinstance(message, str) else {}
            if told.get("type") == "executing" and told["data"].get("node") is None:
                break
    return dict((await http.get(f"/history/{prompt_id}")).json()[prompt_id]["outputs"])


async def busy_1_job(console: Console) -> Figures:
    """Share of the time in which the server paints, while one job wants 24 pictures of 2 s each.

    The baseline asks for one picture at a time, and every 5 s whether it is there; the limit is a server never idle.
    """
    async with bench() as opened:
        return await busy_with(opened, console, 1)


async def busy_4_jobs(console: Console) -> Figures:
    """The same of four jobs, each in a process of its own, which share the 24 pictures."""
    async with bench() as opened:
        return await busy_with(opened, console, 4)


async def two_servers(console: Console) -> Figures:
    """Seconds of one job's loop with two servers; baseline: with one. The ratio is how many times as fast it is."""
    rounds = []
    async with bench() as opened:
        for _ in range(SPEED_UP_ROUNDS):
            with opened.standins(3) as (alone, first, second):
                one, two = await asyncio.gather(
                    opened.loop.run(job_of_its_own(), PICTURES, alone.url),
                    opened.loop.run(job_of_its_own(), PICTURES, f"{first.url},{second.url}"),
                )
            console.print(f"  {PICTURES} pictures: one server {one:.1f} s, two servers {two:.1f} s")
            limit = PICTURES * PICTURE_SECONDS / 2
            rounds.append(Round(ours=two, baseline=one, limit=limit, ratio=one / two))
    return Figures.of(rounds, unit="s")


async def killed(console: Console) -> Figures:
    """Pictures painted for a job of 8 whose process is killed after the third. The ratio is that to what was needed."""
    rounds: list[Round] = []
    lanes = asyncio.Semaphore(KILLS_AT_ONCE)
    async with bench() as opened:
        with opened.standins(1, seconds=0.5) as (server,):

            async def kill_once() -> None:
                async with lanes:
                    painted = await kill_and_resume(opened.loop, server, job_of_its_own(), KILLED_PICTURES, after=3)
                rounds.append(Round(ours=painted, limit=KILLED_PICTURES, ratio=painted / KILLED_PICTURES))
                console.print(f"  kill {len(rounds)}: {painted} pictures painted")

            await asyncio.gather(*(kill_once() for _ in range(KILLS)))
    console.print(f"  {KILLS} kills: {sum(one.ours for one in rounds):.0f} pictures, needed {KILLS * KILLED_PICTURES}")
    return Figures.of(rounds, unit="pictures")


BENCHMARKS: Final = {
    "image_loop_busy_1_job": busy_1_job,
    "image_loop_busy_4_jobs": busy_4_jobs,
    "image_loop_two_servers": two_servers,
    "image_loop_killed": killed,
}
