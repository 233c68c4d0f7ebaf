"""Following jobs and cancelling them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query

from api.bodies import RunBody, RunList, RunMessage
from api.deps import CurrentCaller, CurrentServices, RunReference
from api.openapi import problems
from tabario.clients.prefect import Run

MAX_PAGE: Final = 100

router = APIRouter()


@router.get(
    "/orchestrate/runs",
    operation_id="list_jobs",
    summary="List jobs",
    responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_jobs(
    caller: CurrentCaller,
    services: CurrentServices,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most jobs in a page.")] = 20,
    cursor: Annotated[
        str, Query(max_length=12_000, pattern="^[A-Za-z0-9_=-]*$", description="`next_cursor` of the page before.")
    ] = "",
) -> RunList:
    """The caller's jobs, newest first."""
    page = await services.runs.list_runs(caller.user_id, limit=limit, cursor=cursor or None)
    return RunList(runs=await services.views.show_all(page.runs), next_cursor=page.next_cursor)


@router.get(
    "/orchestrate/status/{run}",
    operation_id="get_job",
    summary="Follow a job",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def get_job(run: RunReference, caller: CurrentCaller, services: CurrentServices) -> RunBody:
    """How far a job is, what it made, and why it failed if it did."""
    return await services.views.show(await services.runs.find_run(caller.user_id, run))


@router.post(
    "/orchestrate/cancel/{run}",
    operation_id="cancel_job",
    summary="Cancel a job",
    status_code=HTTPStatus.ACCEPTED,
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def cancel_job(run: RunReference, caller: CurrentCaller, services: CurrentServices) -> RunMessage:
    """Stops a job; its slot is free within seconds. A job that has ended cannot be cancelled (`run_ended`)."""
    found = await services.runs.find_run(caller.user_id, run)
    await services.cancelling.cancel(found)
    return _message(found, "The job is being cancelled.")


def _message(run: Run, message: str) -> RunMessage:
    return RunMessage(run_id=run.job.run_id, flow_run_id=run.flow_run_id, workflow_id=run.name, message=message)
