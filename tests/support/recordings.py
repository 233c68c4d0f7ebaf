"""Recordings of real ComfyUI servers, and what two answers must share to count as the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

RECORDINGS: Final = Path(__file__).parent.parent / "recordings" / "comfyui"

# The recordings were made with a tiny model; the stand-in has the one that the product uses.
_RECORDED_MODEL: Final = "tiny-random-sd15.safetensors"
_MODEL: Final = "sd_xl_base_1.0.safetensors"

# Values that a client decides by; of all others only the type must be the same.
_TELLING: Final = frozenset(
    {"type", "status", "status_str", "completed", "message", "error", "class_type", "cancelled", "name", "subfolder"}
)

# What happens to be installed on a machine, help for people, a header of the recorder's, and what earlier prompts
# had left in the cache.
_LOCAL: Final = frozenset({"comfy_package_versions", "tooltip", "comfy_usage_source", "nodes", "executed"})


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer."""

    scenario: str
    note: str
    request: dict[str, Any]
    response: dict[str, Any]

    @property
    def content(self) -> bytes:
        """The request's body as it was sent."""
        if "body_base64" in self.request:
            return base64.b64decode(self.request["body_base64"])
        if "body_json" in self.request:
            return json.dumps(self.request["body_json"]).encode()
        return str(self.request.get("body_text", "")).encode()


@dataclass(frozen=True)
class SocketRecording:
    """What one websocket was sent in a scenario."""

    scenario: str
    label: str
    connect_path: str
    messages: list[dict[str, Any]]


@cache
def exchanges(version: str) -> list[Exchange]:
    """Every recorded exchange of a version, in order."""
    return [
        Exchange(line["scenario"], line["note"], line["request"], line["response"])
        for line in _lines(f"exchanges-{version}.jsonl")
    ]


@cache
def sockets(version: str) -> list[SocketRecording]:
    """Every recorded websocket of a version."""
    return [SocketRecording(**line) for line in _lines(f"websocket-{version}.jsonl")]


def shape(value: object, key: str = "") -> object:
    """Keys and types, and the values that clients decide by. Equal neighbours in a list count once."""
    if isinstance(value, dict):
        return {name: shape(part, name) for name, part in value.items() if name not in _LOCAL}
    if isinstance(value, list):
        parts = [shape(part) for part in value]
        return [part for number, part in enumerate(parts) if number == 0 or part != parts[number - 1]]
    if isinstance(value, bool) or value is None:
        return value if key in _TELLING else type(value).__name__
    if isinstance(value, int | float):
        return "number"
    return value if key in _TELLING else "text"


def message_types(messages: list[dict[str, Any]]) -> list[str]:
    """Types in their order; a run of steps counts once, since its length is a matter of time."""
    types: list[str] = []
    for message in messages:
        kind = message["type"]
        if kind == "executing" and message["data"]["node"] is None:
            kind = "executing nothing"
        types.append(kind)
        if types[-2:] == ["progress_state", "progress"] and types[-4:-2] == ["progress_state", "progress"]:
            del types[-2:]
    return types


def _lines(name: str) -> Iterator[dict[str, Any]]:
    for line in (RECORDINGS / name).read_text(encoding="utf-8").splitlines():
        yield json.loads(line.replace(_RECORDED_MODEL, _MODEL))
