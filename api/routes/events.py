"""`GET /orchestrate/events/{run}`: a job's progress as it happens, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import StringConstraints
from pydantic.json_schema import SkipJsonSchema

from api.deps import CurrentCaller, CurrentServices, RunReference
from api.openapi import problems
from tabario.clients.prefect import Run

LAST_EVENT_ID: Final = "Last-Event-ID"

router = APIRouter()

LastEventId = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}-[0-9]{1,19}$")] | SkipJsonSchema[None],
    Header(alias=LAST_EVENT_ID, description="`id` of the last event that was seen.", examples=["1793455200123-0"]),
]


async def _followed(run: RunReference, caller: CurrentCaller, services: CurrentServices) -> AsyncIterator[Run]:
    """The caller's run, with a place to follow it that is held until the reply has been sent."""
    found = await services.runs.find_run(caller.user_id, run)
    with services.following.place(caller.user_id, found):
        yield found


@router.get(
    "/orchestrate/events/{run}",
    operation_id="follow_job",
    summary="Follow a job live",
    response_class=EventSourceResponse,
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def follow_job(
    run: Annotated[Run, Depends(_followed)],
    caller: CurrentCaller,
    services: CurrentServices,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """How a job gets on, as server-sent events named `progress`, and at its end one `done` or `failed`.

    The data of each event is a `ProgressBody`. A comment comes every 15 seconds while nothing happens. The stream also
    ends when the access token does: connect again with `Last-Event-ID` and a new one.
    """
    async for event in services.following.events(run, last_event_id, until=caller.expires_at):
        yield event
