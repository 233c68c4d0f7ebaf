"""The executor: one prompt at a time, and a cache that holds the results of the last prompt's nodes."""

from __future__ import annotations

import asyncio
import time

from tabario.embedded.comfyui.directories import Directories
from tabario.embedded.comfyui.evaluation import Result, ServerRestarted, Workshop
from tabario.embedded.comfyui.execution import Execution
from tabario.embedded.comfyui.faults import Fault, Faults
from tabario.embedded.comfyui.journal import Journal, Outcome, Run
from tabario.embedded.comfyui.narration import Narration
from tabario.embedded.comfyui.plan import Plan
from tabario.embedded.comfyui.queue import PromptQueue, QueuedPrompt
from tabario.embedded.comfyui.sockets import Sockets


class Executor:
    """Runs what the queue holds, strictly one prompt after the other."""

    def __init__(  # noqa: PLR0913 - its collaborators, passed in
        self,
        *,
        queue: PromptQueue,
        sockets: Sockets,
        workshop: Workshop,
        directories: Directories,
        faults: Faults,
        journal: Journal,
    ) -> None:
        self._queue = queue
        self._sockets = sockets
        self._workshop = workshop
        self._directories = directories
        self._faults = faults
        self._journal = journal
        self._cache: dict[str, Result] = {}
        self._interrupted = asyncio.Event()
        self.current_node: str | None = None

    async def run(self) -> None:
        """Runs prompts until cancelled."""
        while True:
            prompt = await self._queue.take()
            self._interrupted.clear()
            if _is_lethal(prompt) or self._faults.take(Fault.EXECUTOR_DEATH):
                await asyncio.Future()  # the prompt stays in queue_running for ever
            await self._execute(prompt)

    def interrupt(self, prompt_id: str | None = None) -> bool:
        """Stops the running prompt, when it is the one named or none is named. Tells whether there was one."""
        running = self._queue.running
        if running is None or prompt_id not in (None, running.prompt_id):
            return False
        self._interrupted.set()
        return True

    def drop_cache(self) -> None:
        """Forgets the results of nodes."""
        self._cache.clear()

    async def forget(self) -> None:
        """Loses queue, history, cache and sockets, as a restart does."""
        self._queue.forget()
        self.drop_cache()
        self.current_node = None
        await self._sockets.close_all()

    async def _execute(self, prompt: QueuedPrompt) -> None:
        plan = Plan(prompt.graph, prompt.output_nodes, self._directories)
        narration = Narration(prompt, self._sockets)
        execution = Execution(prompt, plan=plan, cache=self._cache, narration=narration, interrupted=self._interrupted)
        started = time.time()
        try:
            outcome = await execution.run(self._workshop, self._enter)
        except ServerRestarted:
            self._note(prompt, Outcome.LOST, started, execution.painted)
            await self.forget()
            return
        self._note(prompt, outcome, started, execution.painted)
        self._cache = {key: result for key, result in self._cache.items() if key in plan.signatures.values()}
        self.current_node = None
        if late := self._faults.take(Fault.LATE_HISTORY):
            await asyncio.sleep(late.seconds)
        self._queue.finish(prompt, execution.entry(outcome))
        narration.all_done()

    def _enter(self, node_id: str) -> None:
        self.current_node = node_id

    def _note(self, prompt: QueuedPrompt, outcome: Outcome, started: float, painted: int) -> None:
        self._journal.write(
            Run(
                prompt_id=prompt.prompt_id,
                number=prompt.number,
                extra_data=prompt.extra_data,
                status=outcome,
                started=started,
                ended=time.time(),
                images=painted,
                filename_prefix=_filename_prefix(prompt),
            )
        )


def _is_lethal(prompt: QueuedPrompt) -> bool:
    """Whether the prompt kills the executor thread: an error outside any node's own code."""
    return prompt.extra_data is None or not all(isinstance(node.get("inputs"), dict) for node in prompt.graph.values())


def _filename_prefix(prompt: QueuedPrompt) -> str | None:
    prefixes = (prompt.graph[node_id]["inputs"].get("filename_prefix") for node_id in prompt.output_nodes)
    return next((prefix for prefix in prefixes if prefix is not None), None)
