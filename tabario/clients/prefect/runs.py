"""Flow runs of our deployment: made, found, listed, cancelled, and moved between states."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import anyio
import httpx
from pydantic import TypeAdapter

from tabario import names
from tabario.clients.prefect.cursors import Cursor
from tabario.clients.prefect.http import OutcomeUnknown, PrefectHttp, accepted
from tabario.clients.prefect.leases import Leases
from tabario.clients.prefect.models import (
    LIVE_TYPES,
    STATES,
    TERMINAL_TYPES,
    FlowRunBody,
    Run,
    RunPage,
    RunState,
    SetStateBody,
    our_run,
)
from tabario.clients.prefect.queues import WorkQueues
from tabario.errors import Conflict, NotFound, RetryLater
from tabario.jobs import Job
from tabario.tracing import trace_labels

PAGE: Final = 200
CRASHED_LATELY: Final = timedelta(minutes=10)
HEALTH_SECONDS: Final = 2.0
BODIES: Final = TypeAdapter(list[FlowRunBody])

Filter = dict[str, Any]


class PrefectApi:
    """The part of Prefect's API that this project uses. `leases` holds the slots, `queues` orders the waiting runs."""

    def __init__(self, http: PrefectHttp) -> None:
        self._http = http
        self.leases = Leases(http)
        self.queues = WorkQueues(http)
        self._deployment_id: UUID | None = None

    async def is_healthy(self) -> bool:
        """Whether the API answers and reaches its database."""
        with anyio.move_on_after(HEALTH_SECONDS):
            try:
                return (await self._http.read("GET", "/ready")).is_success
            except RetryLater:
                return False
        return False

    async def create_run(self, job: Job, *, lease_id: UUID) -> Run:
        """Makes the job's flow run. Repeating it with the same lease gives the same run.

        Raises NotDone, or OutcomeUnknown when the run may exist all the same.
        """
        body = {
            "name": names.workflow_id(job.user_id, job.run_id),
            "parameters": {"job": job.model_dump(mode="json")},
            "tags": [names.user_tag(job.user_id), names.tier_tag(job.tier)],
            "labels": {names.JOB_LABEL: str(job.job_id), names.TIER_LABEL: job.tier.value, **trace_labels()},
            "work_queue_name": names.WORK_QUEUES[job.tier],
            "idempotency_key": str(lease_id),
            "state": {"type": "SCHEDULED"},
        }
        answer = await self._create(body)
        if answer.status_code == httpx.codes.NOT_FOUND:  # deployed anew since we looked
            self._deployment_id = None
            answer = await self._create(body)
        if (
            answer.status_code == httpx.codes.CONFLICT
        ):  # with a request of the same moment: the next one sees what it made
            answer = await self._create(body)
        if answer.status_code == httpx.codes.CONFLICT:
            raise OutcomeUnknown("The orchestrator is busy; try again in a few seconds.")
        found = FlowRunBody.model_validate(accepted(answer).json())
        run = our_run(found, await self.deployment_id())
        if run is None:
            raise Conflict("The orchestrator already has another run for this slot.")
        return run

    async def _create(self, body: Mapping[str, Any]) -> httpx.Response:
        path = f"/deployments/{await self.deployment_id()}/create_flow_run"
        return await self._http.write("POST", path, body)

    async def deployment_id(self) -> UUID:
        """Id of our deployment. Raises RetryLater when the flow is not deployed."""
        if self._deployment_id is None:
            answer = await self._http.read("GET", f"/deployments/name/{names.DEPLOYMENT_PATH}")
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise RetryLater("The video flow is not deployed yet; try again later.", retry_after=30)
            self._deployment_id = UUID(accepted(answer).json()["id"])
        return self._deployment_id

    async def find_run(self, user_id: str, reference: str) -> Run:
        """The user's run with this run_id or flow run id. Raises NotFound, also for other people's runs."""
        name = names.workflow_id(user_id, reference)
        runs = await self._ours(await self._filter({"name": {"any_": [name]}}, sort="EXPECTED_START_TIME_DESC"))
        if not runs and (flow_run_id := _as_uuid(reference)):
            runs = [run for run in [await self.read_run(flow_run_id)] if run]
        for run in runs:
            if run.job.user_id == user_id:
                return run
        raise NotFound("You have no such run.")

    async def read_run(self, flow_run_id: UUID) -> Run | None:
        """The run as it is now, or None when it is gone or not ours."""
        answer = await self._http.read("GET", f"/flow_runs/{flow_run_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        body = FlowRunBody.model_validate(accepted(answer).json())
        return our_run(body, await self.deployment_id())

    async def list_runs(self, user_id: str, *, limit: int, cursor: str | None = None) -> RunPage:
        """A page of the user's runs, newest first. Raises InvalidInput for a cursor that is not ours."""
        since = Cursor.read(cursor) if cursor is not None else None
        where: Filter = {"tags": {"all_": [names.user_tag(user_id)]}}
        if since is not None:
            where |= {
                "expected_start_time": {"before_": since.due.isoformat()},
                "id": {"not_any_": _texts(since.shown)},
            }
        bodies = await self._filter(where, sort="EXPECTED_START_TIME_DESC", limit=limit + 1)
        page = bodies[:limit]
        runs = [run for run in await self._ours(page) if run.job.user_id == user_id]
        following = str(Cursor.after(page, since)) if len(bodies) > limit else None
        return RunPage(runs=tuple(runs), next_cursor=following)

    async def live_runs(self, user_id: str | None = None) -> list[Run]:
        """Every run that has not ended, of one user or of all, oldest first."""
        where: Filter = {"state": {"type": {"any_": LIVE_TYPES}}}
        if user_id is not None:
            where["tags"] = {"all_": [names.user_tag(user_id)]}
        bodies: dict[UUID, FlowRunBody] = {}
        while page := await self._filter(where, sort="EXPECTED_START_TIME_ASC"):
            news = {body.id: body for body in page if body.id not in bodies}
            bodies |= news
            if len(page) < PAGE or not news or page[-1].expected_start_time is None:
                break
            where["expected_start_time"] = {"after_": page[-1].expected_start_time.isoformat()}
        runs = await self._ours(list(bodies.values()))
        return [run for run in runs if user_id is None or run.job.user_id == user_id]

    async def crashed_runs(self, user_id: str) -> list[Run]:
        """The user's runs that crashed in the last ten minutes, newest first; at most a page of them."""
        since = datetime.now(UTC) - CRASHED_LATELY
        where: Filter = {
            "state": {"type": {"any_": [RunState.CRASHED.name]}},
            "end_time": {"after_": since.isoformat()},
            "tags": {"all_": [names.user_tag(user_id)]},
        }
        runs = await self._ours(await self._filter(where, sort="END_TIME_DESC"))
        return [run for run in runs if run.job.user_id == user_id]

    async def ended_runs(self, since: datetime) -> list[Run]:
        """Every run that ended at `since` or later, newest end first."""
        ended: Filter = {"after_": since.isoformat()}
        where: Filter = {"state": {"type": {"any_": TERMINAL_TYPES}}, "end_time": ended}
        bodies: dict[UUID, FlowRunBody] = {}
        while page := await self._filter(where, sort="END_TIME_DESC"):
            news = {body.id: body for body in page if body.id not in bodies}
            bodies |= news
            if len(page) < PAGE or not news or page[-1].end_time is None:
                break
            ended["before_"] = page[-1].end_time.isoformat()
        return await self._ours(list(bodies.values()))

    async def counts(self) -> dict[RunState, int]:
        """How many runs of our deployment are in each state."""
        totals = dict.fromkeys(RunState, 0)
        deployment = {"any_": [str(await self.deployment_id())]}
        for kind, state in STATES.items():
            where = {"deployment_id": deployment, "state": {"type": {"any_": [kind]}}}
            answer = await self._http.read("POST", "/flow_runs/count", {"flow_runs": where})
            totals[state] += int(accepted(answer).json())
        return totals

    async def cancel_run(self, run: Run) -> None:
        """Ends a run that waits, and asks a worker to end one that has begun. Safe to repeat.

        Raises Conflict with code "run_ended" when the run ended otherwise before.
        """
        answer = await self._set_state(run, {"type": "CANCELLING", "message": "Cancelled by its owner."})
        state = STATES[answer.state.type] if answer.state else (await self._reread(run)).state
        if state not in (RunState.CANCELLING, RunState.CANCELLED):
            raise Conflict("The run has already ended.", code="run_ended")
        if state is RunState.CANCELLING and run.state in (RunState.QUEUED, RunState.PENDING):
            await self._end_unbegun(run)

    async def _end_unbegun(self, run: Run) -> None:
        """Ends a run that a worker has taken and not begun: its process finds it cancelled, and says nothing more."""
        fresh = await self._reread(run)
        if (fresh.state, fresh.run_count) == (RunState.CANCELLING, run.run_count):
            await self.end_run(fresh, RunState.CANCELLED, "Cancelled by its owner.")

    async def _reread(self, run: Run) -> Run:
        fresh = await self.read_run(run.flow_run_id)
        if fresh is None:
            raise NotFound("You have no such run.")
        return fresh

    async def end_run(self, run: Run, state: RunState, message: str) -> bool:
        """Declares a run crashed or cancelled whose process is gone; says False when Prefect had moved it on."""
        if (await self._reread(run)).state_id != run.state_id:
            return False
        answer = await self._set_state(run, {"type": state.name, "message": message})
        return answer.status == "ACCEPT"

    async def resume_run(self, run: Run, message: str) -> bool:
        """Puts a crashed run back in its queue; says False when somebody had moved it on.

        Raises NotDone, or OutcomeUnknown when it may be in its queue all the same.
        """
        if (await self._reread(run)).state_id != run.state_id:
            return False
        # Without the old process's id, Prefect cancels the waiting run at once, as any other.
        path = f"/flow_runs/{run.flow_run_id}"
        accepted(await self._http.write("PATCH", path, {"infrastructure_pid": None}))
        again = {
            "type": "SCHEDULED",
            "name": "AwaitingRetry",
            "message": message,
            "state_details": {"scheduled_time": datetime.now(UTC).isoformat()},
        }
        return (await self._set_state(run, again, force=True)).status == "ACCEPT"

    async def hand_lease(self, run: Run, lease_id: UUID) -> None:
        """Notes on the run that another lease holds its slot from now on."""
        path = f"/flow_runs/{run.flow_run_id}/labels"
        accepted(await self._http.write("PATCH", path, {names.LEASE_LABEL: str(lease_id)}))

    async def _set_state(self, run: Run, state: Mapping[str, Any], *, force: bool = False) -> SetStateBody:
        path = f"/flow_runs/{run.flow_run_id}/set_state"
        # Sent again, a forced state would undo what the run has become since.
        send = self._http.write_once if force else self._http.write
        answer = await send("POST", path, {"state": state, "force": force})
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFound("You have no such run.")
        return SetStateBody.model_validate(accepted(answer).json())

    async def _filter(self, where: Filter, *, sort: str, limit: int = PAGE) -> list[FlowRunBody]:
        ours = where | {"deployment_id": {"any_": [str(await self.deployment_id())]}}
        answer = await self._http.read("POST", "/flow_runs/filter", {"flow_runs": ours, "sort": sort, "limit": limit})
        return BODIES.validate_json(accepted(answer).content)

    async def _ours(self, bodies: list[FlowRunBody]) -> list[Run]:
        deployment_id = await self.deployment_id()
        return [run for body in bodies if (run := our_run(body, deployment_id))]


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _texts(ids: frozenset[UUID]) -> list[str]:
    return sorted(str(one) for one in ids)
