"""The exporter's Prefect sources on a real Prefect server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from monitoring.collectors.runs import FlowRuns
from monitoring.collectors.slots import Slots
from monitoring.collectors.workers import Workers
from monitoring.prefect_reader import PrefectReader, open_prefect_reader
from tabario import names
from tabario.settings import PrefectSettings, SlotSettings
from tabario.tiers import Tier
from tests.support.exposition import Exposition
from tests.support.orchestrator import SettableClock, prefect_client
from tests.support.servers import PrefectServer
from tests.support.waiting import eventually

FOREMAN_SECONDS = 15


@pytest.fixture
async def http(prefect_server: PrefectServer) -> AsyncIterator[httpx.AsyncClient]:
    async with prefect_client(prefect_server.api_url) as client:
        yield client


@pytest.fixture
async def reader(prefect_server: PrefectServer) -> AsyncIterator[PrefectReader]:
    async with open_prefect_reader(PrefectSettings(url=prefect_server.api_url)) as reader:
        yield reader


@pytest.fixture
async def deployment(http: httpx.AsyncClient, reader: PrefectReader) -> str:
    """Id of our deployment; another test's is left as it is, for the server is everybody's."""
    if found := await reader.deployment_id(names.FLOW, names.DEPLOYMENT):
        return found
    made = await http.post("/work_pools/", json={"name": names.WORK_POOL, "type": "process"})
    assert made.is_success or made.status_code == httpx.codes.CONFLICT, made.text
    for queue in names.WORK_QUEUES.values():
        await http.post(f"/work_pools/{names.WORK_POOL}/queues", json={"name": queue})
    return await deploy(http, names.FLOW)


async def deploy(http: httpx.AsyncClient, flow_name: str) -> str:
    flow = await post(http, "/flows/", name=flow_name)
    body = {"name": names.DEPLOYMENT, "flow_id": flow["id"], "work_pool_name": names.WORK_POOL}
    return str((await post(http, "/deployments/", **body))["id"])


async def post(http: httpx.AsyncClient, path: str, **body: object) -> Any:  # noqa: ANN401 - JSON
    response = await http.post(path, json=body)
    response.raise_for_status()
    return response.json() if response.content else None


async def create_run(http: httpx.AsyncClient, deployment_id: str, tier: Tier, *states: str, name: str = "") -> str:
    run = await post(
        http,
        f"/deployments/{deployment_id}/create_flow_run",
        work_queue_name=names.WORK_QUEUES[tier],
        tags=[names.tier_tag(tier)],
        enforce_parameter_schema=False,  # these runs are only counted, so they carry no job
    )
    for state in states:
        body = {"state": {"type": state, **({"name": name} if name else {})}, "force": True}
        await post(http, f"/flow_runs/{run['id']}/set_state", **body)
    return str(run["id"])


async def shown(source: FlowRuns | Workers | Slots) -> Exposition:
    return Exposition.of(await source.read())


async def test_live_runs_are_counted_by_state_and_queue(
    http: httpx.AsyncClient, reader: PrefectReader, deployment: str
) -> None:
    source = FlowRuns(reader)
    before = await shown(source)
    stranger = await deploy(http, "somebody-elses-flow")
    runs = [
        await create_run(http, deployment, Tier.PREMIUM),
        await create_run(http, deployment, Tier.STANDARD),
        await create_run(http, deployment, Tier.STANDARD, "SCHEDULED", name="Late"),
        await create_run(http, deployment, Tier.STANDARD, "PENDING", "RUNNING"),
        await create_run(http, deployment, Tier.PREMIUM, "PENDING", "RUNNING", "COMPLETED"),
        await create_run(http, stranger, Tier.PREMIUM),
    ]
    after = await shown(source)

    def growth(sample: str, **labels: str) -> float:
        return (after.value(sample, **labels) or 0) - (before.value(sample, **labels) or 0)

    assert {state: growth("video_orchestrator_flow_runs", state=state) for state in ("scheduled", "running")} == {
        "scheduled": 3,
        "running": 1,
    }
    assert growth("video_orchestrator_flow_runs_late") == 1
    assert growth("video_orchestrator_waiting_runs", work_queue="premium") == 1
    assert growth("video_orchestrator_waiting_runs", work_queue="standard") == 2
    for queue in ("premium", "standard"):
        age = after.value("video_orchestrator_queue_oldest_age_seconds", work_queue=queue)
        assert age is not None
        assert 0 < age < 60
    for run in runs:
        await http.delete(f"/flow_runs/{run}")


async def test_worker_active_follows_the_workers_of_the_pool(
    http: httpx.AsyncClient, reader: PrefectReader, deployment: str
) -> None:
    assert deployment
    for worker in await reader.workers(names.WORK_POOL):
        await http.delete(f"/work_pools/{names.WORK_POOL}/workers/{worker['name']}")
    source = Workers(reader)

    async def active_is(expected: float) -> bool:
        return (await shown(source)).value("worker_active") == expected

    assert await active_is(0)
    heartbeat = {"name": f"worker-{uuid4().hex}", "heartbeat_interval_seconds": 1}
    await post(http, f"/work_pools/{names.WORK_POOL}/workers/heartbeat", **heartbeat)
    assert await active_is(1)
    # Three missed heartbeats, then the server's next look.
    await eventually(partial(active_is, 0), within=3 * 1 + 2 * FOREMAN_SECONDS, what="the worker is missed")
    exposition = await shown(source)
    assert exposition.value("video_orchestrator_workers", work_pool=names.WORK_POOL, status="offline") == 1


async def test_every_start_of_a_worker_without_a_name_of_its_own_is_a_new_worker_for_an_hour(
    http: httpx.AsyncClient, reader: PrefectReader, deployment: str
) -> None:
    assert deployment
    clock = SettableClock()
    source = Workers(reader, clock=clock)

    async def new() -> float:
        return (await shown(source)).value("video_orchestrator_workers_new") or 0

    async def beat(name: str) -> None:
        await post(http, f"/work_pools/{names.WORK_POOL}/workers/heartbeat", name=name)

    before = await new()
    starts = [f"ProcessWorker {uuid4()}" for _ in range(3)]
    for name in (*starts, starts[-1]):
        await beat(name)
    assert await new() == before + 3
    clock.advance(3700)
    await beat(starts[-1])
    assert await new() == 0
    for name in starts:
        await http.delete(f"/work_pools/{names.WORK_POOL}/workers/{name}")


async def test_a_missing_work_pool_means_no_active_worker(reader: PrefectReader) -> None:
    assert await reader.workers(f"no-pool-{uuid4().hex}") == []


async def test_slots_in_use_are_added_up_by_tier(http: httpx.AsyncClient, reader: PrefectReader) -> None:
    in_use = "video_orchestrator_slots_in_use"
    before = await shown(Slots(reader, SlotSettings()))
    limits = [(names.slot_limit(str(uuid4())), size) for size in (1, 3, 1, 3, 1)] + [(f"foreign-{uuid4()}", 50)]
    for name, size in limits:
        await post(http, "/v2/concurrency_limits/", name=name, limit=size, active_slots=size)
    after = await shown(Slots(reader, SlotSettings()))
    growth = [(after.value(in_use, tier=tier) or 0) - (before.value(in_use, tier=tier) or 0) for tier in Tier]
    assert dict(zip(Tier, growth, strict=True)) == {Tier.STANDARD: 3, Tier.PREMIUM: 6}
    for name, _ in limits:
        await http.delete(f"/v2/concurrency_limits/{name}")
