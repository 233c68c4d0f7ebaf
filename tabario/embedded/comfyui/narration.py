"""What the server says about one run: websocket messages in their order, and the ones that history keeps."""

from __future__ import annotations

import time
from typing import Any, Final

from tabario.embedded.comfyui.queue import QueuedPrompt
from tabario.embedded.comfyui.sockets import Sockets

# Without a client these go to everybody; the other messages of a run go nowhere.
_PUBLIC: Final = frozenset({"progress_state", "progress", "execution_interrupted"})


class Narration:
    """The messages of one run."""

    def __init__(self, prompt: QueuedPrompt, sockets: Sockets) -> None:
        self._prompt = prompt
        self._sockets = sockets
        self._nodes: dict[str, dict[str, Any]] = {}
        self.kept: list[tuple[str, dict[str, Any]]] = []

    def keep(self, kind: str, **data: Any) -> None:  # noqa: ANN401 - each message has fields of its own
        """Says what history is to keep: execution_start, _cached, _success, _error or _interrupted."""
        message = {**data, "prompt_id": self._prompt.prompt_id, "timestamp": int(time.time() * 1000)}
        self.kept.append((kind, message))
        self._send(kind, message)

    def node_begins(self, node_id: str) -> None:
        """A node runs."""
        self._progress(node_id, 0.0, 1.0, "running")
        self._send("executing", {"node": node_id, "display_node": node_id, "prompt_id": self._prompt.prompt_id})

    def node_advances(self, node_id: str, value: int, maximum: int) -> None:
        """A sampler has made a step."""
        self._progress(node_id, value, maximum, "running")
        data = {"value": value, "max": maximum, "prompt_id": self._prompt.prompt_id, "node": node_id}
        self._send("progress", data)

    def node_ends(self, node_id: str, shown: dict[str, Any] | None) -> None:
        """A node is done, or its result was in the cache; `shown` is what an output node has to show."""
        if shown is not None:
            data = {"node": node_id, "display_node": node_id, "output": shown, "prompt_id": self._prompt.prompt_id}
            self._send("executed", data)
        maximum = self._nodes.get(node_id, {"max": 1.0})["max"]
        self._progress(node_id, maximum, maximum, "finished")

    def all_done(self) -> None:
        """The run is over and in the history."""
        self._send("executing", {"node": None, "prompt_id": self._prompt.prompt_id})

    def _progress(self, node_id: str, value: float, maximum: float, state: str) -> None:
        self._nodes[node_id] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self._send("progress_state", {"prompt_id": self._prompt.prompt_id, "nodes": dict(self._nodes)})

    def _send(self, kind: str, data: dict[str, Any]) -> None:
        if self._prompt.client_id is not None or kind in _PUBLIC:
            self._sockets.send(kind, data, self._prompt.client_id)
