"""Requests to the Prefect API, and what can be known when one fails.

A claim that is sent twice takes two slots, so a failure says which of two things it is: the server has certainly
not acted (`NotDone`), or it may have (`OutcomeUnknown`). Reads and repeatable writes are sent again after either;
the others only after the first.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import Any, Final

import anyio
import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from tabario.errors import ConfigurationError, RetryLater, TabarioError
from tabario.settings import PrefectSettings

RETRY_SECONDS: Final = 8.0
TIMEOUT: Final = httpx.Timeout(15.0, connect=3.0)
IDLE_SECONDS: Final = 2.0  # below the server's 5 s, or a request may be sent into a closing connection

log = logging.getLogger(__name__)


class NotDone(RetryLater):
    """The request did not reach the server, or the server did nothing."""


class OutcomeUnknown(RetryLater):
    """The request was sent and its reply is lost: it may have taken effect."""


class Refused(TabarioError):
    """Prefect does not understand or allow what we ask: versions or deployment do not fit. Nothing was done."""


class PrefectHttp:
    """Sends JSON to the Prefect API.

    `idle` keeps its connections for reuse. `fresh` opens one for each request: on a reused connection that the
    server is just closing, a lost request looks like a lost reply.
    """

    def __init__(self, *, idle: httpx.AsyncClient, fresh: httpx.AsyncClient, one_writer: bool) -> None:
        self._idle = idle
        self._fresh = fresh
        self._one_writer = one_writer
        self._writing = anyio.Lock() if one_writer else None

    async def read(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """Sends a request that changes nothing. Raises RetryLater when no answer comes in time."""
        async for attempt in _attempts(NotDone, OutcomeUnknown):
            with attempt:
                return await self._send(self._idle, method, path, body)
        raise AssertionError("tenacity returns or raises")

    async def write(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Sends a change that may be sent twice. Raises NotDone, or OutcomeUnknown if any try may have done it."""
        in_doubt = False
        async for attempt in _attempts(NotDone, OutcomeUnknown):
            with attempt:
                try:
                    async with self._writing or nullcontext():
                        return await self._send(self._idle, method, path, body)
                except OutcomeUnknown:
                    in_doubt = True
                    raise
                except NotDone as error:
                    if in_doubt:
                        raise OutcomeUnknown(str(error), retry_after=error.retry_after) from error
                    raise
        raise AssertionError("tenacity returns or raises")

    async def write_once(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Sends a change that must not take effect twice. Raises NotDone or OutcomeUnknown."""
        async for attempt in _attempts(NotDone):
            with attempt:
                async with self._writing or nullcontext():
                    return await self._send(self._fresh, method, path, body)
        raise AssertionError("tenacity returns or raises")

    async def _send(
        self, client: httpx.AsyncClient, method: str, path: str, body: Mapping[str, Any] | None
    ) -> httpx.Response:
        try:
            response = await client.request(method, path, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotDone("The orchestrator cannot be reached; try again in a few seconds.") from error
        except httpx.TransportError as error:
            raise OutcomeUnknown("The orchestrator did not answer; try again in a few seconds.") from error
        return self._checked(response)

    def _checked(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ConfigurationError("Prefect refuses our credentials: set PREFECT_API_AUTH_STRING.")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise NotDone("The orchestrator is busy; try again in a few seconds.")
        if status == httpx.codes.SERVICE_UNAVAILABLE and self._one_writer:
            # SQLite was locked, so the transaction was rolled back.
            raise NotDone("The orchestrator is busy; try again in a few seconds.")
        if response.is_server_error:
            raise OutcomeUnknown("The orchestrator failed; try again in a few seconds.")
        return response


def _attempts(*kinds: type[RetryLater]) -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(kinds),
        stop=stop_after_delay(RETRY_SECONDS),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        reraise=True,
    )


def accepted(response: httpx.Response) -> httpx.Response:
    """The response, when it says yes. Raises Refused."""
    if not response.is_success:
        log.error("Prefect refuses %s: %s %s", response.request.method, response.status_code, response.text[:500])
        raise Refused("The orchestrator refuses the request.")
    return response


def authorization(settings: PrefectSettings) -> dict[str, str]:
    """The header that Prefect's basic authentication wants; empty without an auth string."""
    if settings.auth_string is None:
        return {}
    token = base64.b64encode(settings.auth_string.get_secret_value().encode()).decode()
    return {"Authorization": f"Basic {token}"}


@asynccontextmanager
async def open_http(settings: PrefectSettings) -> AsyncIterator[PrefectHttp]:
    """Opens the connections to the Prefect API; closes them when the block ends."""
    address, headers = settings.url.rstrip("/"), authorization(settings)
    kept = httpx.Limits(max_connections=20, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS)
    unkept = httpx.Limits(max_connections=20, max_keepalive_connections=0)
    async with AsyncExitStack() as stack:
        idle, fresh = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=address, headers=headers, timeout=TIMEOUT, limits=limits)
            )
            for limits in (kept, unkept)
        ]
        fresh.headers["Connection"] = "close"
        yield PrefectHttp(idle=idle, fresh=fresh, one_writer=settings.one_writer)
