"""The websocket route: /ws?clientId=."""

from __future__ import annotations

import uuid
from typing import Any, Final

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from tabario.embedded.comfyui.faults import Fault
from tabario.embedded.comfyui.standin import StandIn

MAX_BODY_BYTES: Final = 100 * 2**20
FEATURES: Final[dict[str, Any]] = {"supports_preview_metadata": True, "max_upload_size": MAX_BODY_BYTES}


async def listen(socket: WebSocket) -> None:
    """Registers the socket and serves it until it closes. Nothing that happened before is told again."""
    standin: StandIn = socket.app.state.standin
    client_id = socket.query_params.get("clientId") or uuid.uuid4().hex
    await socket.accept()
    if not standin.faults.take(Fault.DEAF_WEBSOCKET):
        standin.sockets.add(client_id, socket)
    standin.sockets.send("status", {"status": standin.status(), "sid": client_id}, client_id)
    running, node = standin.queue.running, standin.executor.current_node
    if running and running.client_id == client_id and node is not None:
        standin.sockets.send("executing", {"node": node}, client_id)
    async for text in socket.iter_text():
        if "feature_flags" in text:
            standin.sockets.send("feature_flags", FEATURES, client_id)
    standin.sockets.remove(client_id)


LISTENING_ROUTES: Final = (WebSocketRoute("/ws", listen),)
