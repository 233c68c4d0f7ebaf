"""What the routes that start a job have in common: their Idempotency-Key, their reply, and how both are documented."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Header, Request, Response
from pydantic import StringConstraints
from pydantic.json_schema import SkipJsonSchema
from starlette.exceptions import HTTPException

from api.bodies import RunIds, RunMessage
from api.idempotency import HEADER
from api.openapi import SlotsFullProblem, problems

POLL_SECONDS: Final = 2
REPLAYED: Final = "Idempotent-Replayed"

IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(pattern=r'^("[!#-\[\]-~]{1,200}"|[!#-\[\]-~]{1,200})$')] | SkipJsonSchema[None],
    Header(alias=HEADER, description="Names this request, bare or in double quotes.", examples=["7f1c2b9e-start"]),
]

_ACCEPTED: Final[dict[str, Any]] = {
    "description": "The job is accepted; `Location` is where to follow it.",
    "headers": {
        "Location": {"schema": {"type": "string"}, "description": "Path of the job's status."},
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until asking is worth it."},
        REPLAYED: {"schema": {"type": "string"}, "description": "true: an earlier request started the job."},
    },
    "links": {
        name: {"operationId": operation, "parameters": {"run": "$response.body#/run_id", **others}}
        for name, operation, others in (
            ("status", "get_job", {}),
            ("cancel", "cancel_job", {}),
            ("video", "get_video", {}),
            ("regenerate", "regenerate_scene", {"scene": 1}),
        )
    },
}


def starting(conflict: str, *also: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that starts a job; `conflict` says when it answers 409."""
    return {
        HTTPStatus.ACCEPTED: _ACCEPTED,
        **problems(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            *also,
        ),
        HTTPStatus.CONFLICT: {"model": SlotsFullProblem, "description": conflict},
    }


async def declared_as_json(request: Request) -> None:
    """Says what is wrong, where FastAPI would call the body "not a valid dictionary"."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body as Content-Type: application/json.")


async def declared_as_json_or_empty(request: Request) -> None:
    """A body may be left out; one that is there must be declared."""
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        await declared_as_json(request)


def bare(key: str | None) -> str | None:
    """An Idempotency-Key without quotes."""
    return key.strip('"') if key else None


def accept(response: Response, started: RunIds, *, replayed: bool) -> RunMessage:
    """The reply to a request that started a job, with its headers."""
    response.headers["Location"] = f"/orchestrate/status/{started.run_id}"
    response.headers["Retry-After"] = str(POLL_SECONDS)
    if replayed:
        response.headers[REPLAYED] = "true"
    return RunMessage(**started.model_dump(), message="The job is accepted. Follow it at the address in Location.")
