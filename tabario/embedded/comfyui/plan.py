"""Which nodes of a prompt run, in which order, and what makes two nodes the same node."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from typing import Any

from tabario.embedded.comfyui.directories import Directories
from tabario.embedded.comfyui.nodes import NODE_CLASSES
from tabario.embedded.comfyui.queue import Graph


class Plan:
    """The nodes that the outputs of a valid prompt need, sources first.

    `signatures` tells nodes apart: node ids do not matter, everything upstream does.
    """

    def __init__(self, graph: Graph, output_nodes: list[str], directories: Directories) -> None:
        self._graph = graph
        self._output_nodes = output_nodes
        self._directories = directories
        self.signatures: dict[str, str] = {}
        for node_id in output_nodes:
            self._sign(node_id)

    def cached(self, cache: Container[str]) -> list[str]:
        """Needed nodes whose results are in the cache, in the order of the prompt."""
        return [node_id for node_id in self._graph if self.signatures.get(node_id) in cache]

    def steps(self, cache: Container[str]) -> list[str]:
        """Nodes to run, and cached outputs to show again, sources first."""
        order: dict[str, None] = {}
        for node_id in self._output_nodes:
            self._visit(node_id, cache, order)
        return list(order)

    def links(self, node_id: str) -> dict[str, tuple[str, int]]:
        """The inputs that are links: name to (source, slot)."""
        node = self._graph[node_id]
        names = NODE_CLASSES[node["class_type"]].inputs
        given = ((name, node["inputs"][name]) for name in names)
        return {name: (value[0], value[1]) for name, value in given if isinstance(value, list)}

    def _visit(self, node_id: str, cache: Container[str], order: dict[str, None]) -> None:
        if node_id in order:
            return
        if self.signatures[node_id] not in cache:
            for source, _ in self.links(node_id).values():
                if self.signatures[source] not in cache:
                    self._visit(source, cache, order)
        order[node_id] = None

    def _sign(self, node_id: str) -> str:
        if node_id not in self.signatures:
            node = self._graph[node_id]
            names = NODE_CLASSES[node["class_type"]].inputs
            values: dict[str, Any] = {name: node["inputs"][name] for name in names}
            values |= {name: [self._sign(source), slot] for name, (source, slot) in self.links(node_id).items()}
            if node["class_type"] == "LoadImage":
                values["file"] = self._fingerprint(values["image"])
            text = json.dumps([node["class_type"], values], sort_keys=True)
            self.signatures[node_id] = hashlib.sha256(text.encode()).hexdigest()
        return self.signatures[node_id]

    def _fingerprint(self, name: str) -> str | None:
        path = self._directories.find_input(name)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else None
