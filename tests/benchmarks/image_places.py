"""Who should hold the cap on prompts at a server: the board in Redis, or a Prefect global concurrency limit."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from statistics import mean
from typing import Final
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import concurrency
from prefect.settings import PREFECT_API_URL, temporary_settings
from redis.asyncio import Redis
from rich.console import Console

from tabario.clients.comfyui import ComfyUIClient, ComfyUIPool, Graph, Patience
from tabario.formats import FrameSize
from tabario.places import Turn
from tabario.places.board import Board
from tabario.styles.workflow import build_graph
from tests.benchmarks.figures import Figures, Round
from tests.support.comfyui import ComfyUIServer, busy_share, comfyui_running
from tests.support.servers import prefect_running, redis_running

JOBS: Final = 4
PICTURES: Final = 6
PICTURE_SECONDS: Final = 1.0
PLACES: Final = 2
LIMIT: Final = "picture-places"
ROUNDS: Final = 2
PATIENCE: Final = Patience(image=60)


def picture() -> tuple[Graph, UUID]:
    """A small picture that nobody has, and its id."""
    prompt_id = uuid4()
    graph = build_graph(
        "text2image",
        prompt=str(prompt_id),
        negative_prompt="",
        size=FrameSize(256, 256),
        seed=1,
        filename_prefix=f"places/{prompt_id}",
    )
    return graph, prompt_id


async def by_board(url: str, redis_url: str, job: str) -> None:
    """A job whose pictures wait on the board."""
    async with Redis.from_url(redis_url) as redis:
        board = Board(redis, places=PLACES)
        async with ComfyUIPool([url], board=board, places=PLACES, patience=PATIENCE) as pool:
            await asyncio.gather(*(_paint_by_board(pool, job) for _ in range(PICTURES)))


async def _paint_by_board(pool: ComfyUIPool, job: str) -> None:
    graph, prompt_id = picture()
    turn = Turn(job, 1, graph.model)
    await pool.paint(graph, prompt_id=prompt_id, extra_data={"job_id": job}, turn=turn, on_place=lambda: None)


async def by_limit(url: str, job: str) -> None:
    """A job whose pictures wait for a slot of a Prefect limit, as Prefect's own client does it."""
    async with ComfyUIClient(url, patience=PATIENCE) as client:
        await asyncio.gather(*(_paint_by_limit(client, job) for _ in range(PICTURES)))


async def _paint_by_limit(client: ComfyUIClient, job: str) -> None:
    graph, prompt_id = picture()
    async with concurrency(LIMIT, occupy=1, strict=True):
        painted = await client.paint(graph, prompt_id=prompt_id, extra_data={"job_id": job})
    await client.fetch(painted)


def lead(server: ComfyUIServer) -> float:
    """How unevenly the jobs were served: seconds between the mean ends of the first and of the last job."""
    runs = server.runs()
    ends = [mean(run["ended"] for run in runs if run["extra_data"]["job_id"] == str(job)) for job in range(JOBS)]
    return float(max(ends) - min(ends))


async def places_busy(console: Console) -> Figures:
    """The busy share under the board; baseline: under a Prefect limit. Side by side, four jobs each."""
    rounds = []
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(redis_running(directory))
        prefect = stack.enter_context(prefect_running(directory, redis))
        stack.enter_context(temporary_settings({PREFECT_API_URL: prefect.api_url}))
        async with get_client() as client:
            await client.upsert_global_concurrency_limit_by_name(LIMIT, PLACES)
        for number in range(ROUNDS):
            with ExitStack() as servers:
                ours, limited = (
                    servers.enter_context(
                        comfyui_running(directory / f"comfyui-{number}-{way}", image_seconds=PICTURE_SECONDS)
                    )
                    for way in ("board", "limit")
                )
                await asyncio.gather(
                    *(by_board(ours.url, redis.url, str(job)) for job in range(JOBS)),
                    *(by_limit(limited.url, str(job)) for job in range(JOBS)),
                )
                mine, theirs = busy_share(ours), busy_share(limited)
                console.print(
                    f"  {JOBS} jobs of {PICTURES} pictures at {PICTURE_SECONDS:.0f} s, busy: board {mine:.2%}, "
                    f"Prefect limit {theirs:.2%}; between first and last served job: {lead(ours):.1f} s, "
                    f"{lead(limited):.1f} s"
                )
            rounds.append(Round(ours=mine, baseline=theirs, limit=1.0, ratio=mine / theirs))
    return Figures.of(rounds, unit="busy share")


BENCHMARKS: Final = {"image_places_busy": places_busy}
