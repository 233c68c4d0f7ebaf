"""`POST /orchestrate/start`: a script comes in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Body, Depends, Response

from api.accepting import IdempotencyKey, accept, bare, declared_as_json, starting
from api.bodies import RunMessage
from api.deps import CurrentCaller, CurrentServices
from tabario.jobs import JobRequest

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


@router.post(
    "/orchestrate/start",
    operation_id="start_job",
    summary="Start a job",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(declared_as_json)],
    responses=starting(
        "Every slot is taken (`slots_full`), the `run_id` is in use (`run_id_taken`), "
        "or a request with the same key or `run_id` is being served (`in_progress`)."
    ),
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
    tier = await services.tier_of(caller)
    started, replayed = await services.starts.start(caller.user_id, tier, job, bare(idempotency_key))
    return accept(response, started, replayed=replayed)
