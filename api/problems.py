"""The body of every error reply: problem details of RFC 9457 with a stable `code`.

One table maps the error tree to statuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi.responses import JSONResponse

from tabario.errors import (
    CallerError,
    Conflict,
    Forbidden,
    InProgress,
    InvalidInput,
    NotFound,
    RetryLater,
    SlotsFull,
    TabarioError,
    TooManyRequests,
    Unauthenticated,
)

MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[dict[type[TabarioError], HTTPStatus]] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    CallerError: HTTPStatus.BAD_REQUEST,
    RetryLater: HTTPStatus.SERVICE_UNAVAILABLE,
    TabarioError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def problem(
    status: HTTPStatus,
    *,
    code: str,
    detail: str,
    instance: str,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> JSONResponse:
    """A problem about the path `instance`. `members` are extension members, for example `errors` or `active`."""
    content = {
        "type": f"urn:problem-type:tabario:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "instance": quote(instance),
        **members,
    }
    return JSONResponse(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def problem_of(error: TabarioError, *, instance: str, **members: object) -> JSONResponse:
    """The reply that an error of the tree becomes."""
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected(instance)
    code = error.conflict_code if isinstance(error, Conflict) else error.code
    detail = f"{error.field}: {error}" if isinstance(error, InvalidInput) else str(error)
    return problem(status, code=code, detail=detail, instance=instance, headers=_headers_of(error), **members)


def unauthenticated(instance: str, *, has_token: bool) -> JSONResponse:
    """401 with the same words for every reason: a stranger learns nothing from them."""
    challenge = 'Bearer error="invalid_token"' if has_token else "Bearer"
    return problem(
        HTTPStatus.UNAUTHORIZED,
        code=Unauthenticated.code,
        detail="A valid access token is required.",
        instance=instance,
        headers={"WWW-Authenticate": challenge},
    )


def unexpected(instance: str) -> JSONResponse:
    """500 that says nothing about the cause, which is in the log under the reply's X-Request-ID."""
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code=TabarioError.code,
        detail="Something went wrong on our side. Give the X-Request-ID of this reply when you report it.",
        instance=instance,
    )


def _headers_of(error: TabarioError) -> dict[str, str]:
    if isinstance(error, SlotsFull | InProgress | TooManyRequests | RetryLater):
        return {"Retry-After": str(error.retry_after)}
    return {}
