"""`POST /orchestrate/runs/{run}/scenes/{scene}/regenerate`: one scene of a film anew, everything else as it was."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Path, Response

from api.accepting import IdempotencyKey, accept, bare, declared_as_json_or_empty, starting
from api.bodies import RunMessage
from api.deps import CurrentCaller, CurrentServices, RunReference
from api.remaking import require_scene
from tabario.jobs import SceneWish

router = APIRouter()

_EXAMPLES: Final[dict[str, Any]] = {
    "again": {"summary": "The same prompt, another picture", "value": {}},
    "otherwise": {
        "summary": "Another prompt",
        "value": {"image_prompt": "tram 28 at night, wet cobblestones, warm windows"},
    },
}

_AS_BEFORE: Final = SceneWish()


@router.post(
    "/orchestrate/runs/{run}/scenes/{scene}/regenerate",
    operation_id="regenerate_scene",
    summary="Make one scene anew",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(declared_as_json_or_empty)],
    responses=starting(
        "The job has made no film (`no_film`), every slot is taken (`slots_full`), the `run_id` is in use "
        "(`run_id_taken`), or a request with the same key or `run_id` is being served (`in_progress`).",
        HTTPStatus.NOT_FOUND,
    ),
)
async def regenerate_scene(  # noqa: PLR0913, PLR0917 - FastAPI wants a parameter for each part of a request
    run: RunReference,
    scene: Annotated[int, Path(ge=1, description="The scene's number, from 1.", examples=[2])],
    response: Response,
    caller: CurrentCaller,
    services: CurrentServices,
    wish: Annotated[SceneWish, Body(openapi_examples=_EXAMPLES)] = _AS_BEFORE,
    idempotency_key: IdempotencyKey = None,
) -> RunMessage:
    """Starts a job that makes a film like that of a finished job, with another picture in one scene.

    The voice and the other pictures are those of the job, so only one picture is painted. The new job takes a slot
    like any other, and has a `run_id` of its own; the old film stays. It can be regenerated in its turn.
    """
    found = await services.runs.find_run(caller.user_id, run)
    await require_scene(services.records, found, scene)
    tier = await services.tier_of(caller)
    started, replayed = await services.starts.regenerate(tier, found.job, scene, wish, bare(idempotency_key))
    return accept(response, started, replayed=replayed)
