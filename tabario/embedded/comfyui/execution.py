"""One run of one prompt, from execution_start to its entry in the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from tabario.embedded.comfyui.evaluation import Interrupted, NodeFailed, Result, Work, Workshop
from tabario.embedded.comfyui.journal import Outcome
from tabario.embedded.comfyui.narration import Narration
from tabario.embedded.comfyui.plan import Plan
from tabario.embedded.comfyui.queue import QueuedPrompt


class Execution:
    """Runs the nodes that the cache does not hold. `painted` counts new pictures, `entry` is for the history."""

    def __init__(
        self,
        prompt: QueuedPrompt,
        *,
        plan: Plan,
        cache: dict[str, Result],
        narration: Narration,
        interrupted: asyncio.Event,
    ) -> None:
        self._prompt = prompt
        self._plan = plan
        self._cache = cache
        self._narration = narration
        self._interrupted = interrupted
        self._executed: list[str] = []
        self._outputs: dict[str, Any] = {}
        self.painted = 0

    async def run(self, workshop: Workshop, on_node: Callable[[str], None]) -> Outcome:
        """Raises ServerRestarted; every other ending is an outcome. `on_node` hears which node runs."""
        self._narration.keep("execution_start")
        self._narration.keep("execution_cached", nodes=self._plan.cached(self._cache))
        for node_id in self._plan.steps(self._cache):
            on_node(node_id)
            try:
                await self._step(node_id, workshop)
            except NodeFailed as error:
                self._narration.keep("execution_error", **self._place(node_id), **self._failure(node_id, error))
                return Outcome.ERROR
            except Interrupted:
                self._narration.keep("execution_interrupted", **self._place(node_id))
                return Outcome.INTERRUPTED
        self._narration.keep("execution_success")
        return Outcome.SUCCESS

    def entry(self, outcome: Outcome) -> dict[str, Any]:
        """The history entry, without the prompt itself."""
        is_success = outcome is Outcome.SUCCESS
        status = {
            "status_str": "success" if is_success else "error",
            "completed": is_success,
            "messages": self._narration.kept,
        }
        meta = {
            node_id: {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
            for node_id in self._outputs
        }
        return {"outputs": self._outputs, "status": status, "meta": meta}

    async def _step(self, node_id: str, workshop: Workshop) -> None:
        signature = self._plan.signatures[node_id]
        result = self._cache.get(signature)
        if result is None:
            if self._interrupted.is_set():
                raise Interrupted
            self._narration.node_begins(node_id)
            work = Work(
                inputs=self._resolve(node_id),
                graph=self._prompt.graph,
                interrupted=self._interrupted,
                on_step=partial(self._narration.node_advances, node_id),
            )
            result = await workshop.run(self._prompt.graph[node_id]["class_type"], work)
            self._cache[signature] = result
            self._executed.append(node_id)
            self.painted += result.painted
        if result.shown is not None:
            self._outputs[node_id] = result.shown
        self._narration.node_ends(node_id, result.shown)

    def _resolve(self, node_id: str) -> dict[str, Any]:
        links = self._plan.links(node_id)
        values = {
            name: self._cache[self._plan.signatures[source]].values[slot] for name, (source, slot) in links.items()
        }
        return {**self._prompt.graph[node_id]["inputs"], **values}

    def _place(self, node_id: str) -> dict[str, Any]:
        node_type = self._prompt.graph[node_id]["class_type"]
        return {"node_id": node_id, "node_type": node_type, "executed": list(self._executed)}

    def _failure(self, node_id: str, error: NodeFailed) -> dict[str, Any]:
        given = self._prompt.graph[node_id]["inputs"]
        return {
            "exception_message": str(error),
            "exception_type": error.exception_type,
            "traceback": [f'  File "nodes.py", in {self._prompt.graph[node_id]["class_type"]}\n'],
            "current_inputs": {name: [value] for name, value in given.items() if not isinstance(value, list)},
            "current_outputs": list(self._prompt.graph),
        }
