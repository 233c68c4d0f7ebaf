"""What ComfyUI runs: a graph of nodes in its API format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Nodes: TypeAlias = dict[str, dict[str, Any]]
"""Node id -> `{"class_type": ..., "inputs": {...}, "_meta": {"title": ...}}`."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that makes one picture.

    `output_node` is the id of the node that saves it. `model` names what the server must load for it.
    """

    nodes: Nodes
    output_node: str
    model: str = ""
