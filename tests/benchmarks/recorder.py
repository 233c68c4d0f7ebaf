"""What recording an observation costs a job."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis
from rich.console import Console

from tabario import names
from tabario.metrics.definitions import IMAGE_GENERATION_SECONDS
from tabario.metrics.recorder import open_recorder
from tests.benchmarks.figures import Figures, Round
from tests.support.servers import redis_running

ROUNDS: Final = 15
CALLS: Final = 400  # in a round
OBSERVATION: Final = IMAGE_GENERATION_SECONDS.observe(42.5, step="text2image", workflow="text2image")


async def mean_milliseconds(deed: Callable[[], Awaitable[object]]) -> float:
    """How long a deed takes, over many."""
    began = time.perf_counter()
    for _ in range(CALLS):
        await deed()
    return (time.perf_counter() - began) * 1000 / CALLS


async def record_observation(console: Console) -> Figures:
    """Milliseconds of one observation of a histogram, counted once.

    The baseline adds to the same two fields in a pipeline, and counts a repetition twice. The limit is one round trip
    to Redis. The ratio is ours over the baseline.
    """
    console.print(f"{ROUNDS} rounds of {CALLS} observations on a Redis of its own.")
    rounds = []
    with tempfile.TemporaryDirectory() as directory, redis_running(Path(directory)) as server:
        async with (
            open_recorder(server.url, enabled=True, spool_directory=Path(directory) / "spool") as recorder,
            Redis.from_url(server.url, decode_responses=True) as redis,
        ):

            async def record() -> None:
                await recorder.record(uuid4().hex, OBSERVATION)

            async def add() -> None:
                async with redis.pipeline(transaction=True) as pipeline:
                    for field, amount in OBSERVATION.deltas:
                        pipeline.hincrbyfloat(names.METRICS_KEY, field, amount)
                    await pipeline.execute()

            async def ask() -> None:
                await redis.ping()

            for deed in (record, add, ask):
                await mean_milliseconds(deed)
            for _ in range(ROUNDS):
                ours, theirs, floor = [await mean_milliseconds(deed) for deed in (record, add, ask)]
                rounds.append(Round(ours=ours, baseline=theirs, limit=floor, ratio=ours / theirs))
    return Figures.of(rounds, unit="ms")


BENCHMARKS: Final = {"record_observation": record_observation}
