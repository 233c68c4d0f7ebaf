"""Connections to checked addresses: a name is resolved once, and the answer that was checked is connected to.

Whoever checks a name and then lets the HTTP client resolve it again can be given another answer the second time.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import anyio
import httpcore

from tabario.clients.outbound.addresses import is_public
from tabario.errors import TabarioError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives all addresses of a host. Raises OSError when it has none."""

SocketOptions = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]

_NO_TIME: Final = 10.0


class AddressRefused(TabarioError):
    """The host has an address outside the public internet, so nothing was sent."""

    code = "address_refused"


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, as the system resolves them; also of numbers in unusual forms such as 2130706433."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Network(httpcore.AsyncNetworkBackend):
    """Connects to hosts all of whose addresses are `allowed`."""

    def __init__(self, *, resolve: Resolve = resolve, allowed: Callable[[str], bool] = is_public) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects. Raises AddressRefused, or httpcore.ConnectError when no address answers."""
        with anyio.move_on_after(timeout or _NO_TIME):
            return await self._connect(await self._checked(host, port), port, local_address, socket_options)
        raise httpcore.ConnectTimeout("The host did not answer in time.")

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - httpcore's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the same
        socket_options: SocketOptions | None = None,  # noqa: ARG002 - the same
    ) -> httpcore.AsyncNetworkStream:
        """Always refused: a socket on this machine is never public."""
        raise AddressRefused("Sockets of this machine are not called.")

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await anyio.sleep(seconds)

    async def _checked(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("The host's name has no address.") from None
        if not addresses:
            raise httpcore.ConnectError("The host's name has no address.")
        if not all(self._allowed(address) for address in addresses):
            raise AddressRefused("The host has an address outside the public internet.")
        return addresses

    async def _connect(
        self, addresses: Sequence[str], port: int, local_address: str | None, options: SocketOptions | None
    ) -> httpcore.AsyncNetworkStream:
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, local_address=local_address, socket_options=options
                )
            except httpcore.ConnectError:
                continue
        raise httpcore.ConnectError("The host does not answer.")
