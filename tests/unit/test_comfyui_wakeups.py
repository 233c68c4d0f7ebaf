from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from tabario.clients.comfyui.wakeups import WakeUps
from tests.support.waiting import eventually

STATUS = json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}}})


class Socket:
    """A server that says what the test tells it to, and remembers under which ids it was called."""

    def __init__(self) -> None:
        self.client_ids: list[str] = []
        self.connections: list[ServerConnection] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/base/"

    async def answer(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        address = urlsplit(connection.request.path)
        assert address.path == "/base/ws"
        self.client_ids += parse_qs(address.query)["clientId"]
        self.connections.append(connection)
        await connection.wait_closed()


@pytest.fixture
async def socket() -> AsyncIterator[Socket]:
    double = Socket()
    server: Server
    async with serve(double.answer, "127.0.0.1", 0) as server:
        [listener] = server.sockets
        double.port = listener.getsockname()[1]
        yield double


async def connected(wakeups: WakeUps, socket: Socket, times: int = 1) -> None:
    async def is_connected() -> bool:
        await wakeups.after(wakeups.count, 0.01)
        return wakeups.count >= times and len(socket.connections) == times

    await eventually(is_connected, within=10, what=f"the socket was opened {times} times")


async def test_status_message_wakes_and_nothing_else_does(socket: Socket) -> None:
    wakeups = WakeUps(socket.url)
    async with wakeups.listening():
        await connected(wakeups, socket)
        seen = wakeups.count
        for message in (b"\x00\x00\x00\x01preview", "not JSON", "[]", json.dumps({"type": "progress", "data": {}})):
            await socket.connections[0].send(message)
        await socket.connections[0].send(STATUS)
        await wakeups.after(seen, 10)
        assert wakeups.count == seen + 1


async def test_call_that_came_between_look_and_wait_is_not_missed(socket: Socket) -> None:
    wakeups = WakeUps(socket.url)
    async with wakeups.listening():
        await connected(wakeups, socket)
        await wakeups.after(wakeups.count - 1, 60)


async def test_waiting_ends_without_a_call_when_the_time_is_up(socket: Socket) -> None:
    wakeups = WakeUps(socket.url)
    async with wakeups.listening():
        await connected(wakeups, socket)
        seen = wakeups.count
        await wakeups.after(seen, 0.01)
        assert wakeups.count == seen


async def test_every_connection_has_a_fresh_client_id_and_wakes(socket: Socket) -> None:
    wakeups = WakeUps(socket.url, reconnect_after=0.01)
    async with wakeups.listening():
        await connected(wakeups, socket)
        socket.connections[0].transport.abort()
        await connected(wakeups, socket, times=2)
        assert len(set(socket.client_ids)) == 2


async def test_no_socket_is_opened_before_somebody_waits(socket: Socket) -> None:
    async with WakeUps(socket.url).listening():
        pass
    assert socket.client_ids == []
