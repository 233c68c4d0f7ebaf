"""What the OpenAPI document says beyond what FastAPI finds by itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, Field

from api.bodies import ActiveRun
from api.problems import MEDIA_TYPE

DESCRIPTION: Final = """\
Turns a script into a narrated short video.

Post a script to `/orchestrate/start`, follow the job at `/orchestrate/status/{run}`, fetch the film from
`/orchestrate/video/{run}`. Every request carries an access token; every error is `application/problem+json` with a
stable `code`."""

TAGS: Final[list[dict[str, Any]]] = [
    {"name": "jobs", "description": "Start, follow and cancel jobs, and fetch their films."},
    {"name": "links", "description": "Films for those who were given a link."},
    {"name": "operation", "description": "For load balancers and monitoring."},
]


class FieldError(BaseModel):
    """One wrong field."""

    field: str = Field(
        description="Dotted path in the body, or the parameter's name.", examples=["prompts.0.image_prompt"]
    )
    message: str = Field(description="What to change.", examples=["String should have at least 1 character"])


class Problem(BaseModel):
    """Problem details of RFC 9457."""

    type: str = Field(examples=["urn:problem-type:tabario:invalid_input"])
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(description="One sentence for people.")
    code: str = Field(description="Stable; programs decide by it.", examples=["invalid_input"])
    instance: str = Field(examples=["/orchestrate/start"])


class InvalidInputProblem(Problem):
    """Problem details that name the wrong fields."""

    errors: list[FieldError]


class SlotsFullProblem(Problem):
    """Problem details of a refused start. The members below are there when `code` is `slots_full`."""

    limit: int | None = Field(default=None, description="Jobs at once.", examples=[1])
    active: list[ActiveRun] | None = Field(default=None, description="The jobs that hold the slots.")


class NotReadyProblem(Problem):
    """Problem details that name what is missing."""

    missing: list[str] = Field(examples=[["redis"]])


_MEANINGS: Final[dict[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "The body is not valid JSON.",
    HTTPStatus.UNAUTHORIZED: "There is no valid access token.",
    HTTPStatus.FORBIDDEN: "The access token does not allow this.",
    HTTPStatus.NOT_FOUND: "You have no such job.",
    HTTPStatus.CONFLICT: "The present state of things refuses it; see `code`.",
    HTTPStatus.REQUEST_TIMEOUT: "The body took too long.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not declared as JSON.",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "The range lies beyond the film's end.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A field is wrong; `errors` names it.",
    HTTPStatus.TOO_MANY_REQUESTS: "You ask too often; wait for `Retry-After` seconds.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A part is down or busy; try again after `Retry-After` seconds.",
}
_MODELS: Final[dict[HTTPStatus, type[Problem]]] = {HTTPStatus.UNPROCESSABLE_ENTITY: InvalidInputProblem}

AUTHENTICATED: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer these statuses."""
    return {
        int(status): {"model": _MODELS.get(status, Problem), "description": _MEANINGS[status]} for status in statuses
    }


class DocumentedApi(FastAPI):
    """An app whose OpenAPI document has problems under their own media type."""

    def openapi(self) -> dict[str, Any]:
        """Made once; FastAPI keeps it."""
        is_new = self.openapi_schema is None
        document = super().openapi()
        if is_new:
            for path in document["paths"].values():
                for operation in path.values():
                    _use_problem_media_type(operation["responses"])
        return document


def _use_problem_media_type(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if int(status) >= HTTPStatus.BAD_REQUEST and "content" in response:
            [schema] = response["content"].values()
            response["content"] = {MEDIA_TYPE: schema}
