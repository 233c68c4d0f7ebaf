"""Links to a film that need no token: made for its owner, and followed by whoever is given one."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Path
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.accepting import declared_as_json_or_empty
from api.bodies import LinkBody
from api.deps import CurrentCaller, CurrentServices, RunReference
from api.openapi import problems
from api.routes.video import FILM_RESPONSES, FilmHeaders, find_film, serve_film
from api.services import Services
from tabario.errors import NotFound
from tabario.links import FilmLinks

MAX_TOKEN: Final = 1024
HOUR: Final = 3600
WEEK: Final = 7 * 24 * HOUR

router = APIRouter()
open_router = APIRouter()


class LinkRequest(BaseModel):
    """Body of `POST /orchestrate/link/{run}`."""

    model_config = ConfigDict(extra="forbid")

    seconds: int = Field(default=HOUR, ge=60, le=WEEK, description="How long the link serves.")


@router.post(
    "/orchestrate/link/{run}",
    status_code=HTTPStatus.CREATED,
    operation_id="create_link",
    summary="Make a link to the film",
    dependencies=[Depends(declared_as_json_or_empty)],
    responses=problems(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
)
async def create_link(
    run: RunReference,
    caller: CurrentCaller,
    services: CurrentServices,
    wish: Annotated[LinkRequest, Body(default_factory=LinkRequest)],
) -> LinkBody:
    """An address that serves the film without a token until it expires: for a player, or for another service."""
    links = _links(services)
    found = await services.runs.find_run(caller.user_id, run)
    await find_film(found, services)
    link = links.make(caller.user_id, found.job.run_id, lifetime=timedelta(seconds=wish.seconds))
    return LinkBody(url=link.url, expires_at=link.expires_at)


@open_router.head("/orchestrate/films/{token}", include_in_schema=False)
@open_router.get(
    "/orchestrate/films/{token}",
    operation_id="follow_link",
    summary="Follow a link to a film",
    response_class=StreamingResponse,
    responses=FILM_RESPONSES,
)
async def follow_link(
    token: Annotated[str, Path(max_length=MAX_TOKEN)], services: CurrentServices, asked: FilmHeaders
) -> Response:
    """The MP4 that a link leads to."""
    linked = _links(services).read(token)
    run = await services.runs.find_run(linked.user_id, linked.run_id)
    return await serve_film(run, services, asked)


def _links(services: Services) -> FilmLinks:
    if services.links is None:
        raise NotFound("This service makes no links.")
    return services.links
