"""What polling Prefect costs: ours, by counts, against the way of exporters that read every run."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console

from monitoring.collectors.runs import FlowRuns
from monitoring.collectors.slots import Slots
from monitoring.collectors.workers import Workers
from monitoring.prefect_reader import PrefectReader
from tabario.settings import SlotSettings
from tests.benchmarks.figures import Figures, Round
from tests.benchmarks.history import Past, prefect_with

LITTLE: Final = Past(runs=100, users=10)
MUCH: Final = Past(runs=20_000, users=2_000)
ROUNDS: Final = 5
POLLS: Final = 15  # in a round
PAGE: Final = 200


@dataclass
class Client:
    """Asks one Prefect server and counts its questions."""

    http: httpx.AsyncClient
    calls: int = 0

    async def count(self, _: httpx.Request) -> None:
        self.calls += 1

    async def poll(self) -> None:
        """One poll of all sources, as the exporter makes it."""
        reader = PrefectReader(self.http)
        sources = (FlowRuns(reader), Workers(reader), Slots(reader, SlotSettings()))
        await asyncio.gather(*(source.read() for source in sources))

    async def read_everything(self) -> None:
        """One poll by pages: every run, every limit."""
        for path in ("/flow_runs/filter", "/v2/concurrency_limits/filter"):
            offset = 0
            while page := await self._page(path, offset):
                offset += len(page)

    async def _page(self, path: str, offset: int) -> list[Any]:
        answer = await self.http.post(path, json={"limit": PAGE, "offset": offset})
        rows: list[Any] = answer.raise_for_status().json()
        return rows


@asynccontextmanager
async def client_of(past: Past, directory: Path) -> AsyncIterator[Client]:
    """A client of a server with this past."""
    async with prefect_with(past, directory) as server, httpx.AsyncClient(base_url=server.api_url, timeout=120) as http:
        client = Client(http)
        http.event_hooks["request"] = [client.count]
        yield client


async def calls_of(client: Client, deed: Callable[[], Awaitable[None]]) -> int:
    """How many questions a deed asks."""
    before = client.calls
    await deed()
    return client.calls - before


async def milliseconds(deed: Callable[[], Awaitable[None]]) -> float:
    """How long a deed takes."""
    began = time.perf_counter()
    await deed()
    return (time.perf_counter() - began) * 1000


async def exporter_poll_calls(console: Console) -> Figures:
    """Calls of one poll at 20,000 finished runs and 2,000 users; the ratio is ours over that of reading everything."""
    with tempfile.TemporaryDirectory() as directory:
        console.print(f"Prefect is given {MUCH.runs} runs and {MUCH.users} users.")
        async with client_of(MUCH, Path(directory) / "much") as much:
            ours, theirs = await calls_of(much, much.poll), await calls_of(much, much.read_everything)
    return Figures.of([Round(ours=ours, baseline=theirs, ratio=ours / theirs)], unit="calls")


async def exporter_poll_growth(console: Console) -> Figures:
    """Milliseconds of a poll at 20,000 finished runs and 2,000 users, over those at 100 runs and 10 users.

    The baseline reads everything from the larger server. Both servers run side by side; a round takes the fastest of
    several polls of each in turn.
    """
    rounds = []
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        console.print(f"One Prefect is given {LITTLE.runs} runs, another {MUCH.runs} and {MUCH.users} users.")
        async with client_of(LITTLE, root / "little") as little, client_of(MUCH, root / "much") as much:
            await asyncio.gather(little.poll(), much.poll())
            for _ in range(ROUNDS):
                pairs = [(await milliseconds(little.poll), await milliseconds(much.poll)) for _ in range(POLLS)]
                small, large = (min(times) for times in zip(*pairs, strict=True))
                theirs = await milliseconds(much.read_everything)
                rounds.append(Round(ours=large, baseline=theirs, ratio=large / small))
    return Figures.of(rounds, unit="ms")


BENCHMARKS: Final = {"exporter_poll_calls": exporter_poll_calls, "exporter_poll_growth": exporter_poll_growth}
