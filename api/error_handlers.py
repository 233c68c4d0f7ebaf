"""Turns every refusal and every fault into a problem.

What a caller reads is the error's own message; what an operator needs to know beyond it goes to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem, problem_of, unexpected
from tabario.errors import CallerError, InvalidInput, NotFound, RetryLater, TabarioError

log = logging.getLogger(__name__)

BODY: Final = "body"

_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: NotFound.code,
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_TIMEOUT: "body_too_slow",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "range_not_satisfiable",
}

_JSON_WORDS: Final = {
    "tuple_type": "Input should be a list.",
    "model_attributes_type": "Input should be an object.",
    "dict_type": "Input should be an object.",
}
"""For what JSON calls otherwise than Python does."""

_DETAILS: Final = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not support this method.",
}


async def _answer_error(request: Request, error: TabarioError) -> JSONResponse:
    if isinstance(error, InvalidInput):
        errors = [{"field": error.field, "message": str(error)}]
        return problem_of(error, instance=request.scope["path"], errors=errors)
    if isinstance(error, RetryLater):
        log.warning("%s %s cannot be served now: %s", request.method, request.scope["path"], error)
    elif not isinstance(error, CallerError):
        log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return problem_of(error, instance=request.scope["path"])


async def _answer_http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Starlette's own refusals: unknown routes, wrong methods, bodies that are too large or broken."""
    status = HTTPStatus(error.status_code)
    return problem(
        status,
        code=_CODES.get(status, CallerError.code),
        detail=_DETAILS.get(status, error.detail),
        instance=request.scope["path"],
        headers=error.headers,
    )


async def _answer_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    """Names each wrong field. What the caller sent is not repeated: it may be large, or a secret in the wrong place."""
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(
            HTTPStatus.BAD_REQUEST,
            code="malformed_json",
            detail="The body is not valid JSON.",
            instance=request.scope["path"],
        )
    errors = [{"field": _field(one["loc"]), "message": _message(one)} for one in found]
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code=InvalidInput.code,
        detail="; ".join(f"{one['field']}: {one['message']}" for one in errors[:3]),
        instance=request.scope["path"],
        errors=errors,
    )


def _field(location: tuple[str | int, ...]) -> str:
    """Dotted path inside the body, or the name of the query parameter or header."""
    if location[0] != BODY:
        return str(location[1])
    return ".".join(str(part) for part in location[1:]) or BODY


def _message(found: Mapping[str, Any]) -> str:
    if found["type"] == "extra_forbidden":
        return "This field is not known; remove it."
    if found["type"] == "missing":
        return "This field is required."
    if found["type"] in _JSON_WORDS:
        return _JSON_WORDS[found["type"]]
    message: str = found["msg"]
    return message.removeprefix("Value error, ")


async def _answer_redis_outage(request: Request, error: Exception) -> JSONResponse:
    """Redis's own errors carry addresses: they go to the log only."""
    log.warning("Redis does not answer: %s", error)
    return await _answer_error(
        request, RetryLater("A part of the service does not answer; try again in a few seconds.")
    )


def add_error_handlers(app: FastAPI) -> None:
    """Makes the app answer every refusal as a problem."""
    app.exception_handler(TabarioError)(_answer_error)
    app.exception_handler(RedisConnectionError)(_answer_redis_outage)
    app.exception_handler(RedisTimeoutError)(_answer_redis_outage)
    app.exception_handler(HTTPException)(_answer_http_error)
    app.exception_handler(RequestValidationError)(_answer_invalid_request)


class UnexpectedErrors:
    """Outermost catch: logs what nobody expected and answers 500 while the reply has not begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception:  # the edge of a request: its cause goes to the log, never to the caller
            log.exception("%s %s failed unexpectedly", scope["method"], scope["path"])
            if begun:
                raise
            await unexpected(scope["path"])(scope, receive, send)
