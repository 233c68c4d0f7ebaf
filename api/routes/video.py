"""`GET /orchestrate/video/{run}`: the film, whole or in ranges."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from api.deps import CurrentCaller, CurrentServices, RunReference
from api.openapi import problems
from api.ranges import ByteRange, parse_range
from api.services import Services
from tabario.clients.prefect import Run
from tabario.errors import Conflict, NotFound
from tabario.records import Film

MEDIA_TYPE: Final = "video/mp4"

router = APIRouter()

_FILM = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}

FILM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: {"description": "The whole film.", **_FILM},
    HTTPStatus.PARTIAL_CONTENT: {"description": "The asked range.", **_FILM},
    HTTPStatus.NOT_MODIFIED: {"description": "The film is the one of `If-None-Match`."},
    **problems(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
}


class _FilmHeaders(BaseModel):
    """What a request for a film asks of it."""

    range: str | SkipJsonSchema[None] = Field(default=None, alias="Range", description="One range of bytes.")
    if_range: str | SkipJsonSchema[None] = Field(default=None, alias="If-Range")
    if_none_match: str | SkipJsonSchema[None] = Field(default=None, alias="If-None-Match")


FilmHeaders = Annotated[_FilmHeaders, Header()]


@router.head("/orchestrate/video/{run}", include_in_schema=False)
@router.get(
    "/orchestrate/video/{run}",
    operation_id="get_video",
    summary="Fetch the film",
    response_class=StreamingResponse,
    responses=FILM_RESPONSES,
)
async def get_video(
    run: RunReference, caller: CurrentCaller, services: CurrentServices, asked: FilmHeaders
) -> Response:
    """The MP4 of a job that is done. Until then the answer is 409 (`film_not_ready`)."""
    found = await services.runs.find_run(caller.user_id, run)
    return await serve_film(found, services, asked)


async def serve_film(run: Run, services: Services, asked: FilmHeaders) -> Response:
    """The film of a run, as the headers ask for it."""
    film = await find_film(run, services)
    etag = _etag(film)
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'inline; filename="{run.job.run_id}.mp4"',  # a run_id needs no quoting
    }
    if asked.if_none_match is not None and _names(asked.if_none_match, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    part = parse_range(asked.range, film.byte_count) if asked.if_range in (None, etag) else None
    return _stream(services, film, part, headers)


async def find_film(run: Run, services: Services) -> Film:
    """The run's film. Raises Conflict while there is none yet, NotFound when there will be none."""
    record = await services.records.read(run.job.job_id)
    if record is not None and record.film is not None and await services.films.exists(record.film.film_key):
        return record.film
    if run.state.terminal:
        raise NotFound("This job has no film.")
    raise Conflict("The film is not ready yet.", code="film_not_ready")


def _etag(film: Film) -> str:
    """Changes with the film: a job that is run again writes under the same key."""
    facts = f"{film.film_key}:{film.byte_count}:{film.duration}"
    return f'"{hashlib.sha256(facts.encode()).hexdigest()[:32]}"'


def _names(header: str, etag: str) -> bool:
    candidates = {candidate.strip().removeprefix("W/") for candidate in header.split(",")}
    return bool(candidates & {"*", etag})


def _stream(services: Services, film: Film, part: ByteRange | None, headers: dict[str, str]) -> Response:
    sent = part or ByteRange(0, film.byte_count)
    headers["Content-Length"] = str(sent.length)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{film.byte_count}"
    return StreamingResponse(
        services.films.open_range(film.film_key, sent.start, sent.stop),
        status_code=HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT,
        media_type=MEDIA_TYPE,
        headers=headers,
    )
