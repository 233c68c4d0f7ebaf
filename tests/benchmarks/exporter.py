"""What polling Prefect costs: ours, by counts, against the way of exporters that read every run."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
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
from tests.support.servers import free_port, redis_running, running
from tests.support.waiting import wait_until

LITTLE: Final = Past(runs=100, users=10)
MUCH: Final = Past(runs=20_000, users=2_000)
ROUNDS: Final = 5
POLLS: Final = 15  # in a round
SCRAPES: Final = 30
SOURCES: Final = 5
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


async def exporter_scrape_growth(console: Console) -> Figures:
    """Milliseconds of a scrape of an exporter at 20,000 finished runs and 2,000 users, over those at 100 runs.

    The baseline is what a scrape would wait for if the exporter read everything then: one reading. A round takes the
    fastest of several scrapes.
    """
    rounds = []
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        console.print(f"One exporter watches {LITTLE.runs} runs, another {MUCH.runs} and {MUCH.users} users.")
        async with client_of(LITTLE, root / "little") as little, client_of(MUCH, root / "much") as much:
            with exporter_of(little, root / "watch-little") as few, exporter_of(much, root / "watch-much") as many:
                async with httpx.AsyncClient(timeout=30) as http:
                    for _ in range(ROUNDS):
                        pairs = [(await scrape(http, few), await scrape(http, many)) for _ in range(SCRAPES)]
                        small, large = (min(times) for times in zip(*pairs, strict=True))
                        theirs = await milliseconds(much.read_everything)
                        rounds.append(Round(ours=large, baseline=theirs, ratio=large / small))
    return Figures.of(rounds, unit="ms")


@contextmanager
def exporter_of(client: Client, directory: Path) -> Iterator[str]:
    """The address of the metrics of an exporter's process that has polled everything once."""
    directory.mkdir()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with redis_running(directory) as redis:
        environment = {
            "TABARIO_REDIS_URL": redis.url,
            "PREFECT_API_URL": str(client.http.base_url).rstrip("/"),
            "TABARIO_EXPORTER_PORT": str(port),
            "TABARIO_METRICS_DIRECTORY": str(directory / "metrics"),
        }

        def has_polled() -> bool:
            try:
                return all_up(httpx.get(f"{address}/health", timeout=5).json()["sources"])
            except httpx.TransportError:
                return False

        command = [sys.executable, "-m", "monitoring"]
        with running(command, environment=environment, log=directory / "exporter.log"):
            wait_until(has_polled, within=60, what="the exporter has polled every source")
            yield f"{address}/metrics"


def all_up(sources: dict[str, bool]) -> bool:
    """Whether every one of the five sources answered."""
    return len(sources) == SOURCES and all(sources.values())


async def scrape(http: httpx.AsyncClient, address: str) -> float:
    """Milliseconds of one scrape."""
    began = time.perf_counter()
    (await http.get(address)).raise_for_status()
    return (time.perf_counter() - began) * 1000


BENCHMARKS: Final = {
    "exporter_poll_calls": exporter_poll_calls,
    "exporter_poll_growth": exporter_poll_growth,
    "exporter_scrape_growth": exporter_scrape_growth,
}
