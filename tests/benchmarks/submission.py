"""What an accepted job costs its caller in time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID

import httpx
from rich.console import Console

from tabario import names
from tests.benchmarks.figures import Figures, Round
from tests.support.front_door_process import FrontDoorProcess, front_door_process
from tests.support.orchestrator import ensure_deployment, make_job, new_user, prefect_client
from tests.support.servers import prefect_running, redis_running
from tests.support.tokens import token

ROUNDS: Final = 7
SUBMISSIONS: Final = 20  # in a round, each by a user of its own
LEASE_SECONDS: Final = 60


async def submit_vs_prefect(console: Console) -> Figures:
    """Milliseconds from a request to its 202, over those of the three calls that Prefect itself needs.

    The baseline makes the user's limit, claims a slot and creates the run, without a check of anything, and asks again
    when SQLite is locked. The limit is a request that does nothing. They take turns, and a round is
    the median of each. No worker takes the runs.
    """
    console.print(f"{ROUNDS} rounds of {SUBMISSIONS} submissions.")
    rounds = []
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        root = Path(directory)
        redis = stack.enter_context(redis_running(root))
        prefect = stack.enter_context(prefect_running(root, redis))
        async with (
            prefect_client(prefect.api_url) as bare,
            httpx.AsyncClient(timeout=60) as client,
        ):
            deployment = await ensure_deployment(bare)
            door = stack.enter_context(front_door_process(root, redis_url=redis.url, prefect=prefect))

            async def through_us() -> None:
                await _submit(client, door)

            async def past_us() -> None:
                await _claim_and_create(bare, deployment)

            async def nothing() -> None:
                (await client.get(f"{door.url}/health")).raise_for_status()

            await _take_turns(through_us, past_us, nothing)
            for _ in range(ROUNDS):
                ours, theirs, floor = await _take_turns(through_us, past_us, nothing)
                rounds.append(Round(ours=ours, baseline=theirs, limit=floor, ratio=ours / theirs))
    return Figures.of(rounds, unit="ms")


async def _submit(client: httpx.AsyncClient, door: FrontDoorProcess) -> None:
    user = new_user()
    body = make_job(user).spec.model_dump(mode="json")
    headers = {"Authorization": f"Bearer {token(user_id=user)}"}
    (await client.post(f"{door.url}/orchestrate/start", json=body, headers=headers)).raise_for_status()


async def _claim_and_create(prefect: httpx.AsyncClient, deployment: UUID) -> None:
    job = make_job(new_user())
    limit = f"bare-{job.user_id}"  # none that the keeper would mend
    await _post(prefect, "/v2/concurrency_limits/", {"name": limit, "limit": 1, "active": True})
    claim = {"names": [limit], "slots": 1, "mode": "concurrency", "lease_duration": LEASE_SECONDS}
    await _post(prefect, "/v2/concurrency_limits/increment-with-lease", claim)
    run = {
        "name": names.workflow_id(job.user_id, job.run_id),
        "parameters": {"job": job.model_dump(mode="json")},
        "state": {"type": "SCHEDULED"},
    }
    await _post(prefect, f"/deployments/{deployment}/create_flow_run", run)


async def _post(prefect: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    (await prefect.post(path, json=body)).raise_for_status()


async def _take_turns(*deeds: Callable[[], Awaitable[None]]) -> list[float]:
    """The median milliseconds of each deed, for one that found SQLite locked says nothing of the others."""
    times: list[list[float]] = [[] for _ in deeds]
    for _ in range(SUBMISSIONS):
        for deed, taken in zip(deeds, times, strict=True):
            began = time.perf_counter()
            await deed()
            taken.append((time.perf_counter() - began) * 1000)
    return [median(taken) for taken in times]


BENCHMARKS: Final = {"submit_vs_prefect": submit_vs_prefect}
