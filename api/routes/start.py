"""`POST /orchestrate/start`: a script comes in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Body, Depends, Header, Request, Response
from pydantic import StringConstraints
from pydantic.json_schema import SkipJsonSchema
from starlette.exceptions import HTTPException

from api.bodies import RunMessage
from api.deps import CurrentCaller, CurrentServices
from api.idempotency import HEADER
from api.openapi import SlotsFullProblem, problems
from tabario.jobs import JobRequest

POLL_SECONDS: Final = 2
REPLAYED: Final = "Idempotent-Replayed"

IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(pattern=r'^("[!#-\[\]-~]{1,200}"|[!#-\[\]-~]{1,200})$')] | SkipJsonSchema[None],
    Header(alias=HEADER, description="Names this request, bare or in double quotes.", examples=["7f1c2b9e-start"]),
]

router = APIRouter()

_EXAMPLES: Final[dict[str, Any]] = {
    "smallest": {
        "summary": "A script and a caption",
        "value": {
            "script": "Lisbon's yellow trams climb streets too steep for buses. Line 28 is the most famous.",
            "caption": "Why Lisbon still runs its old trams",
        },
    },
    "directed": {
        "summary": "Own pictures, reference, format and style",
        "value": {
            "script": "Lisbon's yellow trams climb streets too steep for buses. Line 28 is the most famous.",
            "caption": "Why Lisbon still runs its old trams",
            "run_id": "lisbon-trams-1",
            "prompts": [
                {"image_prompt": "a yellow tram climbing a steep narrow street in Lisbon"},
                {"image_prompt": "tram 28 in front of a tiled church, morning light"},
            ],
            "language": "en",
            "video_format": "16:9",
            "target_resolution": "720p",
        },
    },
}


async def _declared_as_json(request: Request) -> None:
    """Says what is wrong, where FastAPI would call the body "not a valid dictionary"."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body as Content-Type: application/json.")


@router.post(
    "/orchestrate/start",
    operation_id="start_job",
    summary="Start a job",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(_declared_as_json)],
    responses={
        HTTPStatus.ACCEPTED: {
            "description": "The job is accepted; `Location` is where to follow it.",
            "headers": {
                "Location": {"schema": {"type": "string"}, "description": "Path of the job's status."},
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until asking is worth it."},
                REPLAYED: {"schema": {"type": "string"}, "description": "true: an earlier request started the job."},
            },
            "links": {
                name: {"operationId": operation, "parameters": {"run": "$response.body#/run_id"}}
                for name, operation in (("status", "get_job"), ("cancel", "cancel_job"), ("video", "get_video"))
            },
        },
        **problems(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        ),
        HTTPStatus.CONFLICT: {
            "model": SlotsFullProblem,
            "description": (
                "Every slot is taken (`slots_full`), the `run_id` is in use (`run_id_taken`), "
                "or a request with the same key is being served (`in_progress`)."
            ),
        },
    },
)
async def start_job(
    job: Annotated[JobRequest, Body(openapi_examples=_EXAMPLES)],
    response: Response,
    caller: CurrentCaller,
    services: CurrentServices,
    idempotency_key: IdempotencyKey = None,
) -> RunMessage:
    """Accepts a script and starts to make the film. The job takes one of the caller's slots until it ends.

    With an `Idempotency-Key`, a request that is sent again within 24 hours gives the same job, and the reply says
    `Idempotent-Replayed: true`. A refused request does not use up its key.
    """
    await to_thread.run_sync(services.kit.require, job)
    key = idempotency_key.strip('"') if idempotency_key else None
    started, replayed = await services.starts.start(caller.user_id, await services.tier_of(caller), job, key)
    response.headers["Location"] = f"/orchestrate/status/{started.run_id}"
    response.headers["Retry-After"] = str(POLL_SECONDS)
    if replayed:
        response.headers[REPLAYED] = "true"
    return RunMessage(**started.model_dump(), message="The job is accepted. Follow it at the address in Location.")
