"""What a job costs beside its work, on the whole stack as `make up` starts it."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from pydantic import SecretStr
from rich.console import Console

from tabario.embedded.state import StackDirectory
from tabario.tiers import Tier
from tabario.tokens.development import mint_development_token
from tests.benchmarks.figures import Figures, Round
from tests.support.engine import forks, started
from tests.support.jobs import new_job
from tests.support.orchestrator import new_user, prefect_client
from tests.support.servers import running
from tests.support.stack import StackUnderTest, stack_running
from tests.support.waiting import eventually

START_ROUNDS: Final = 15
JOB_ROUNDS: Final = 5
IDLE_ROUNDS: Final = 5
IDLE_SECONDS: Final = 20.0
PATIENCE_SECONDS: Final = 180.0
SAMPLE_SECONDS: Final = 0.1
STOCK_POOL: Final = "stock"
STOCK_POLL_SECONDS: Final = 10.0
ROOT: Final = Path(__file__).parents[2]
PROCESSES_A_RUN: Final = 2  # what the worker started, and its fork
OVER: Final = {"completed", "failed", "crashed", "cancelled"}


@dataclass(frozen=True)
class Site:
    """A running stack, and clients of its front door and of its Prefect."""

    stack: StackUnderTest
    door: httpx.AsyncClient
    prefect: httpx.AsyncClient

    async def submit(self) -> tuple[str, dict[str, str]]:
        """A new user's small job: its flow run, and the headers that ask after it."""
        user = new_user()
        key = StackDirectory(self.stack.state).secrets().development_key
        token = mint_development_token(SecretStr(key), user_id=user, tier=Tier.PREMIUM, lifetime=timedelta(hours=1))
        headers = {"Authorization": f"Bearer {token}"}
        body = new_job().spec.model_dump(mode="json")
        reply = await self.door.post("/orchestrate/start", json=body, headers=headers)
        return str(reply.raise_for_status().json()["flow_run_id"]), headers

    async def ended(self, run: str, headers: dict[str, str]) -> dict[str, Any]:
        """The status of the job when it is over. Fails unless it made a film."""
        found: dict[str, Any] = {}

        async def is_over() -> bool:
            nonlocal found
            found = (await self.door.get(f"/orchestrate/status/{run}", headers=headers)).raise_for_status().json()
            return found["state"] in OVER

        await eventually(is_over, within=PATIENCE_SECONDS, what="the job is over")
        assert found["state"] == "completed", found
        return found

    async def first_task_began(self, run: str) -> datetime:
        """When the run's first task began."""
        begun: list[datetime] = []

        async def has_begun() -> bool:
            wanted = {"flow_runs": {"id": {"any_": [run]}}}
            tasks = (await self.prefect.post("/task_runs/filter", json=wanted)).raise_for_status().json()
            begun.extend(datetime.fromisoformat(one["start_time"]) for one in tasks if one["start_time"])
            return bool(begun)

        await eventually(has_begun, within=PATIENCE_SECONDS, what="the first task begins")
        return min(begun)


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """A stack in a directory of its own."""
    with (
        tempfile.TemporaryDirectory() as directory,
        stack_running(Path(directory), TABARIO_EMBEDDED_IMAGE_SECONDS="0.5") as stack,
    ):
        async with (
            httpx.AsyncClient(base_url=stack.addresses.api_url, timeout=60) as door,
            prefect_client(f"{stack.addresses.prefect_url}/api") as prefect,
        ):
            yield Site(stack, door, prefect)


# --- from the 202 to the first task ---


async def first_task_vs_stock(console: Console) -> Figures:
    """Seconds from a job's 202 until its first task runs, over those of a stock worker with default settings.

    Both workers serve one Prefect server, in turn: a round is a job of ours and a run of the stock flow, which is made
    at a random moment between two of its worker's questions. Our first job starts the fork server. Of a later one's
    1.6 s on an idle machine, looked up once, 0.3 pass until its worker asks, 0.4 while that prepares the run, 0.6 until
    Prefect has it as running, and 0.3 until the flow has found Redis and its blocks.
    """
    chance = random.Random()  # noqa: S311 - not for secrets
    console.print(f"{START_ROUNDS} jobs and as many runs of a stock worker.")
    rounds = []
    async with site() as here, stock_worker(here) as deployment:
        for _ in range(START_ROUNDS):
            began = datetime.now().astimezone()
            run, headers = await here.submit()
            accepted = datetime.now().astimezone()
            ours = (await here.first_task_began(run) - accepted).total_seconds()
            await here.ended(run, headers)
            await asyncio.sleep(chance.uniform(0, STOCK_POLL_SECONDS))
            theirs = await _stock_seconds(here, deployment)
            rounds.append(Round(ours=ours, baseline=theirs, ratio=ours / theirs))
            console.print(
                f"  ours {ours:.2f} s ({(accepted - began).total_seconds():.2f} s to the 202), stock {theirs:.2f} s"
            )
    return Figures.of(rounds, unit="s")


@asynccontextmanager
async def stock_worker(here: Site) -> AsyncIterator[str]:
    """A worker with a pool of its own; yields the id of the deployment that it serves."""
    flow = (await here.prefect.post("/flows/", json={"name": "stock"})).raise_for_status().json()["id"]
    (await here.prefect.post("/work_pools/", json={"name": STOCK_POOL, "type": "process"})).raise_for_status()
    body = {
        "name": "stock",
        "flow_id": flow,
        "work_pool_name": STOCK_POOL,
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        "entrypoint": "tests/benchmarks/peers/stock_flow.py:stock",
    }
    deployment = (await here.prefect.post("/deployments/", json=body)).raise_for_status().json()["id"]
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", STOCK_POOL, "--type", "process"]
    environment = {
        "PREFECT_API_URL": f"{here.stack.addresses.prefect_url}/api",
        "PREFECT_HOME": str(here.stack.state / "stock"),
    }
    with running(command, environment=environment, log=here.stack.state / "stock.log"):

        async def is_online() -> bool:
            found = await here.prefect.post(f"/work_pools/{STOCK_POOL}/workers/filter", json={})
            return any(worker["status"] == "ONLINE" for worker in found.raise_for_status().json())

        await eventually(is_online, within=PATIENCE_SECONDS, what="the stock worker is online")
        yield str(deployment)


async def _stock_seconds(here: Site, deployment: str) -> float:
    reply = await here.prefect.post(f"/deployments/{deployment}/create_flow_run", json={"state": {"type": "SCHEDULED"}})
    created = datetime.now().astimezone()
    return (await here.first_task_began(reply.raise_for_status().json()["id"]) - created).total_seconds()


# --- from the submission to the film ---


async def job_overhead(console: Console) -> Figures:
    """Seconds from submission to film that no stage worked in; the ratio is the whole time over the stages' time."""
    console.print(f"{JOB_ROUNDS} jobs, one after the other.")
    rounds = []
    async with site() as here:
        for _ in range(JOB_ROUNDS):
            began = time.perf_counter()
            status = await here.ended(*await here.submit())
            whole = time.perf_counter() - began
            working = sum(status["receipt"]["stage_seconds"].values())
            rounds.append(Round(ours=whole - working, ratio=whole / working))
    return Figures.of(rounds, unit="s")


async def memory_per_job(console: Console) -> Figures:
    """MiB that one job's processes have to themselves at most, over those of an interpreter that imported Prefect."""
    console.print(f"{JOB_ROUNDS} jobs, one after the other.")
    rounds = []
    async with site() as here:
        for _ in range(JOB_ROUNDS):
            run, headers = await here.submit()
            with peak_memory(here.stack, run) as peak:
                await here.ended(run, headers)
            bare = await asyncio.to_thread(_bare_prefect)
            rounds.append(Round(ours=peak[0], limit=bare, ratio=peak[0] / bare))
    return Figures.of(rounds, unit="MiB")


@contextmanager
def peak_memory(stack: StackUnderTest, run: str) -> Iterator[list[float]]:
    """The one number in the list grows to the most that the run's processes hold while the block runs."""
    peak, ended = [0.0], threading.Event()

    def sample() -> None:
        first: list[psutil.Process] = []
        while not ended.wait(SAMPLE_SECONDS):
            with suppress(psutil.Error):
                if len(first) < PROCESSES_A_RUN:
                    every = stack.processes()
                    first = [*started(every, run), *forks(every, run)]
                tree = [one for process in first for one in (process, *process.children(recursive=True))]
                peak[0] = max(peak[0], sum(one.memory_full_info().uss for one in tree) / 2**20)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        ended.set()
        sampler.join()


def _bare_prefect() -> float:
    script = "import os, psutil, prefect, prefect.flow_engine; print(psutil.Process().memory_full_info().uss)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout) / 2**20


# --- nothing to do ---


async def idle_cpu(console: Console) -> Figures:
    """CPU seconds a second of the whole stack while nobody asks for anything, over those of its Prefect server."""
    console.print(f"{IDLE_ROUNDS} rounds of {IDLE_SECONDS:.0f} s.")
    rounds = []
    async with site() as here:
        await here.ended(*await here.submit())  # everything is imported and connected
        for _ in range(IDLE_ROUNDS):
            before = _cpu_seconds(here.stack)
            await asyncio.sleep(IDLE_SECONDS)
            used = {name: seconds - before.get(name, 0.0) for name, seconds in _cpu_seconds(here.stack).items()}
            whole = sum(used.values()) / IDLE_SECONDS
            prefect = max(used[name] for name in used if "prefect_server" in name) / IDLE_SECONDS
            rounds.append(Round(ours=whole, baseline=prefect, ratio=whole / prefect))
    return Figures.of(rounds, unit="CPU s/s")


def _cpu_seconds(stack: StackUnderTest) -> dict[str, float]:
    used = {}
    for process in stack.processes():
        with suppress(psutil.Error):
            times = process.cpu_times()
            used[f"{process.pid} {' '.join(process.cmdline())}"] = times.user + times.system
    return used


BENCHMARKS: Final = {
    "first_task_vs_stock": first_task_vs_stock,
    "job_overhead": job_overhead,
    "memory_per_job": memory_per_job,
    "idle_cpu": idle_cpu,
}
