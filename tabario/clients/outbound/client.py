"""One request, one answer: no redirects, no proxies, limits on time and size."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

import anyio
import certifi
import httpcore

from tabario.clients.outbound.addresses import is_public
from tabario.clients.outbound.network import Network
from tabario.clients.outbound.rules import AddressRules
from tabario.errors import RetryLater

ANSWER_BYTES: Final = 64 * 1024
LONGEST_WAIT_SECONDS: Final = 24 * 3600
DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}

T = TypeVar("T")


class NoAnswer(RetryLater):
    """The host could not be reached or did not answer well; `reason` is "connect", "timeout" or "protocol"."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `retry_after` is what the host asks for, in seconds."""

    status: int
    retry_after: float | None


class OutboundClient:
    """Posts to URLs that keep the rules. Each request has a connection of its own.

    `seconds` are all that a request may take, from resolving the name to the end of the answer.
    """

    def __init__(
        self,
        rules: AddressRules,
        *,
        seconds: float,
        network: Network | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._seconds = seconds
        self._network = network or Network(allowed=(lambda _: True) if rules.private else is_public)
        self._trust = trust or ssl.create_default_context(cafile=certifi.where())

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Sends `body`; redirects are answers like others.

        Raises ValueError for a URL against the rules, AddressRefused, and NoAnswer.
        """
        return await self._limited(url, lambda: self._post(url, body, headers))

    async def connect(self, url: str) -> None:
        """Connects, and sends nothing. Raises as `post` does."""
        await self._limited(url, lambda: self._connect(httpcore.URL(url)))

    async def _limited(self, url: str, act: Callable[[], Awaitable[T]]) -> T:
        self._rules.check_url(url)
        try:
            with anyio.fail_after(self._seconds):
                return await act()
        except (TimeoutError, httpcore.TimeoutException):
            raise NoAnswer("The host did not answer in time.", reason="timeout") from None
        except httpcore.NetworkError as error:
            raise NoAnswer(str(error) or "The connection broke.", reason="connect") from None
        except ssl.SSLError:
            raise NoAnswer("The host's certificate is not valid.", reason="connect") from None
        except httpcore.ProtocolError:
            raise NoAnswer("The host does not speak HTTP.", reason="protocol") from None

    async def _connect(self, url: httpcore.URL) -> None:
        host, port = url.host.decode(), url.port or DEFAULT_PORTS[url.scheme]
        stream = await self._network.connect_tcp(host, port)
        try:
            if url.scheme == b"https":
                stream = await stream.start_tls(self._trust, server_hostname=host)
        finally:
            await stream.aclose()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._trust, max_connections=1, http2=False, network_backend=self._network
            ) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
        ):
            await _read_some(response)
            asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
            return Reply(status=response.status, retry_after=_seconds(asked))


async def _read_some(response: httpcore.Response) -> None:
    """Lets the host finish a small answer; a large one is cut off."""
    read = 0
    async with aclosing(response.aiter_stream()) as chunks:  # type: ignore[type-var]  # an async generator at run time
        async for chunk in chunks:
            read += len(chunk)
            if read > ANSWER_BYTES:
                return


def _seconds(header: bytes | None) -> float | None:
    """Only the form in seconds: a date would need the host's clock."""
    if header is None or not header.strip().isdigit():
        return None
    return min(float(header), LONGEST_WAIT_SECONDS)
