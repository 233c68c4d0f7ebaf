"""`GET /orchestrate/video/{run}/{file}`: the files that go with a film."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from api.deps import CurrentCaller, CurrentServices, RunReference
from api.openapi import problems
from api.routes.video import find_film
from tabario.errors import NotFound
from tabario.records import Companion

MEDIA_TYPES: Final = {
    Companion.POSTER: "image/jpeg",
    Companion.SRT: "application/x-subrip",
    Companion.VTT: "text/vtt",
}

router = APIRouter()


@router.get(
    "/orchestrate/video/{run}/{file}",
    operation_id="get_video_file",
    summary="Fetch the poster or the subtitles",
    response_class=Response,
    responses={
        HTTPStatus.OK: {
            "description": "The file.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
        },
        **problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    },
)
async def get_video_file(
    run: RunReference, file: Companion, caller: CurrentCaller, services: CurrentServices
) -> Response:
    """A frame of the film as JPEG, or its subtitles as SRT or WebVTT."""
    found = await services.runs.find_run(caller.user_id, run)
    film = await find_film(found, services)
    key = film.companions.get(file)
    if key is None:
        raise NotFound("This job has no such file.")
    return Response(
        await services.films.read_bytes(key),
        media_type=MEDIA_TYPES[file],
        headers={
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f'inline; filename="{found.job.run_id}-{file}"',  # a run_id needs no quoting
        },
    )
