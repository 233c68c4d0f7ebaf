"""A deployment without a worker on a real Prefect server: tests move its runs between states themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import anyio
import httpx

from tabario import names
from tabario.clients.prefect import PrefectApi, Run
from tabario.jobs import Job, JobSpec
from tabario.tiers import Tier

PATIENCE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.1


class SettableClock:
    """The real time, moved by hand."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)

    def reset(self) -> None:
        self._offset = timedelta()


class StillClock:
    """Noon, until it is moved on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def new_user() -> str:
    return str(uuid4())


def make_job(user_id: str, *, tier: Tier = Tier.STANDARD, run_id: str | None = None) -> Job:
    return Job(
        job_id=uuid4(),
        user_id=user_id,
        run_id=run_id or uuid4().hex,
        tier=tier,
        accepted_at=datetime.now(UTC),
        spec=JobSpec(script="The sun rises over the sea.", caption="Morning"),
    )


class PatientTransport(httpx.AsyncHTTPTransport):
    """Asks again while SQLite is locked, as it often is when a test and the server write at once."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                response = await super().handle_async_request(request)
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return response
                await response.aclose()
                await anyio.sleep(PAUSE_SECONDS)  # asked again at once, the server would have time for nothing else


def prefect_client(url: str) -> httpx.AsyncClient:
    """A client of the API at `url`, for what a test asks of Prefect itself."""
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, transport=PatientTransport())


class FickleTransport(PatientTransport):
    """A server that cannot be reached while it is `away`."""

    away = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        return await super().handle_async_request(request)


@dataclass(frozen=True)
class Orchestrator:
    """Prefect seen from outside our code: what the database says, and the hand that moves runs."""

    http: httpx.AsyncClient
    prefect: PrefectApi
    deployment_id: UUID

    async def set_state(self, run: Run, kind: str, *, name: str | None = None) -> None:
        state: dict[str, Any] = {"type": kind, "message": "moved by a test"}
        if name is not None:
            state["name"] = name
        body = {"state": state, "force": True}
        (await self.http.post(f"/flow_runs/{run.flow_run_id}/set_state", json=body)).raise_for_status()

    async def state_of(self, run: Run) -> str:
        answer = await self.http.get(f"/flow_runs/{run.flow_run_id}")
        return str(answer.raise_for_status().json()["state"]["name"])

    async def active_slots(self, user_id: str) -> int:
        answer = await self.http.get(f"/v2/concurrency_limits/{names.slot_limit(user_id)}")
        return int(answer.raise_for_status().json()["active_slots"])

    async def create_foreign_run(self, **fields: Any) -> UUID:  # noqa: ANN401 - any of Prefect's fields
        path = f"/deployments/{self.deployment_id}/create_flow_run"
        body = {"state": {"type": "SCHEDULED"}, "enforce_parameter_schema": False, **fields}
        answer = await self.http.post(path, json=body)
        return UUID(answer.raise_for_status().json()["id"])


async def end_all_runs(http: httpx.AsyncClient) -> None:
    """Cancels every run that lives, page after page."""
    live = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]}}}
    while found := (await http.post("/flow_runs/filter", json={"flow_runs": live})).raise_for_status().json():
        for body in found:
            ended = {"state": {"type": "CANCELLED"}, "force": True}
            (await http.post(f"/flow_runs/{body['id']}/set_state", json=ended)).raise_for_status()


async def forget_everything(http: httpx.AsyncClient) -> None:
    """Leaves no run and no user's limit behind that a keeper of the next test would look at."""
    while (await http.post("/flow_runs/bulk_delete", json={})).raise_for_status().json()["deleted"]:
        pass
    while limits := (await http.post("/v2/concurrency_limits/filter", json={})).raise_for_status().json():
        for limit in limits:
            await http.delete(f"/v2/concurrency_limits/{limit['id']}")


async def ensure_deployment(http: httpx.AsyncClient) -> UUID:
    """Id of our deployment; made without a worker's pool unless it is there."""
    found = await http.get(f"/deployments/name/{names.DEPLOYMENT_PATH}")
    if found.status_code == httpx.codes.NOT_FOUND:
        flow = (await http.post("/flows/", json={"name": names.FLOW})).raise_for_status().json()
        (await http.post("/work_pools/", json={"name": "nobody", "type": "process"})).raise_for_status()
        body = {
            "name": names.DEPLOYMENT,
            "flow_id": flow["id"],
            "work_pool_name": "nobody",
            "enforce_parameter_schema": False,
        }
        found = await http.post("/deployments/", json=body)
    return UUID(found.raise_for_status().json()["id"])
