"""The proxy that loses replies for `make chaos`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.chaos.proxy import LOOPBACK, Proxy, Request, Trap
from tests.support.servers import free_port

CLAIM = "/increment-with-lease"


class Server:
    """Answers every request with 200 and the body it got; a WebSocket's bytes come back as they are."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await Request.read(reader)
        if request.is_upgrade:
            writer.write(await reader.readexactly(4))
        else:
            self.bodies.append(request.body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(request.body), request.body))
        writer.close()


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    listening = await asyncio.start_server(server.serve, LOOPBACK, 0)
    async with listening:
        yield Proxy(listening.sockets[0].getsockname()[1])


@pytest.fixture
async def app(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    async with proxy.serving(port), httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=5) as http:
        yield http


async def test_requests_pass_while_no_trap_is_set(app: httpx.AsyncClient) -> None:
    for text in ("one", "two"):
        assert (await app.post("/api/increment-with-lease", content=text)).text == text


async def test_trap_loses_one_reply_after_the_server_has_acted(
    app: httpx.AsyncClient, proxy: Proxy, server: Server
) -> None:
    struck: list[int] = []
    trap = Trap(CLAIM, body="ada", strike=lambda: struck.append(len(server.bodies)))
    async with proxy.trapping(trap):
        assert (await app.post("/api/increment-with-lease", content="bob")).is_success
        assert (await app.post("/api/other", content="ada")).is_success
        with pytest.raises(httpx.RemoteProtocolError):
            await app.post("/api/increment-with-lease", content="ada")
        assert trap.sprung.is_set()
        assert struck == [3], "the server had acted when the trap struck"
        assert (await app.post("/api/increment-with-lease", content="ada")).is_success


async def test_trap_spares_replies_that_it_does_not_want(app: httpx.AsyncClient, proxy: Proxy) -> None:
    trap = Trap(CLAIM, body="ada", reply=b"granted")
    async with proxy.trapping(trap):
        assert (await app.post("/api/increment-with-lease", content="ada")).is_success
        assert not trap.sprung.is_set()
        with pytest.raises(httpx.RemoteProtocolError):
            await app.post("/api/increment-with-lease", content="ada granted")


async def test_trap_can_keep_the_request_from_the_server(app: httpx.AsyncClient, proxy: Proxy, server: Server) -> None:
    async with proxy.trapping(Trap(CLAIM, body="ada", forward=False)):
        with pytest.raises(httpx.RemoteProtocolError):
            await app.post("/api/increment-with-lease", content="ada")
    assert server.bodies == []


async def test_server_that_is_down_shows_as_503() -> None:
    port = free_port()
    async with Proxy(free_port()).serving(port), httpx.AsyncClient(timeout=5) as http:
        assert (await http.get(f"http://{LOOPBACK}:{port}/health")).status_code == httpx.codes.SERVICE_UNAVAILABLE


async def test_websockets_pass_both_ways(proxy: Proxy) -> None:
    port = free_port()
    async with proxy.serving(port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"GET /events/out HTTP/1.1\r\nUpgrade: websocket\r\n\r\nping")
        assert await reader.read() == b"ping"
        writer.close()
