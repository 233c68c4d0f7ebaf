"""One picture on its way, from the first look at the server to the file.

The same step is taken again and again: read the queue, then the history (the other order can miss a prompt that ends
in between), and act on what is there. A first submission, a prompt that an earlier run left behind, a lost reply and a
server that restarted are all the same case: the prompt is sent only when it was looked for and not found.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio

from tabario.clients.comfyui.graph import Graph
from tabario.clients.comfyui.replies import EndedPrompt, Queue, QueuedPrompt, SavedFile, Submission
from tabario.clients.comfyui.routes import ComfyUIUnavailable, Routes
from tabario.clients.comfyui.wakeups import WakeUps
from tabario.clients.comfyui.watchdog import HeadWatch
from tabario.errors import ImageFailed, ImageTimedOut

MAX_SENDS: Final = 3
CANCEL_SECONDS: Final = 10.0

Announce: TypeAlias = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)


async def nobody_to_tell() -> None:
    """Announces nothing."""


class ServerGone(ComfyUIUnavailable):
    """The server has a picture of ours, and is away or stuck for longer than anybody waits: ask another one."""


class StalePicture(ImageFailed):
    """The picture was painted for an earlier order, and its file is bad or gone: have it painted under a new id."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds.

    `image` bounds how long one prompt may run; waiting behind others that make progress does not count. `outage`
    bounds how long the server that has the picture may be away. `poll` is the pause between looks when no wake-up
    call comes. `settle` is how long a prompt that was sent must be missing before it counts as lost: a submission
    whose reply was lost may still be on its way in.
    """

    image: float
    outage: float = 60.0
    poll: float = 1.0
    settle: float = 2.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to paint. `extra_data` travels with the prompt and says whose it is.

    `announce` is called before the prompt is sent. `witnessed`: the server was seen to have the prompt already.
    """

    prompt_id: str
    graph: Graph
    extra_data: Mapping[str, str]
    announce: Announce = nobody_to_tell
    witnessed: bool = False


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture that lies ready at the server. `busy_seconds` is what its executor spent on it.

    `adopted`: this order did not send the prompt. `ours`: it was sent for this order's job, by whatever process.
    """

    file: SavedFile
    busy_seconds: float
    adopted: bool
    ours: bool

    @contextmanager
    def examined(self) -> Iterator[None]:
        """The block reads or checks the file: an ImageFailed there becomes a StalePicture if the picture is adopted."""
        try:
            yield
        except ImageFailed as error:
            if self.adopted:
                raise StalePicture(str(error)) from error
            raise


class Painting:
    """Carries out one order."""

    def __init__(self, order: Order, *, routes: Routes, wakeups: WakeUps, watch: HeadWatch, patience: Patience) -> None:
        self._order = order
        self._routes = routes
        self._wakeups = wakeups
        self._watch = watch
        self._patience = patience
        self._sends = 0
        self._witnessed = order.witnessed  # this order sent the prompt, or it was seen at the server
        self._missing_since: float | None = None
        self._superseded: float | None = None  # number of a failed entry that a new submission replaces
        self._trouble_since: float | None = None

    async def finish(self) -> Painted:
        """The picture, painted. Withdraws the prompt when cancelled.

        Raises ImageFailed, ImageTimedOut, ServerGone, and ComfyUIUnavailable before the server was given the prompt.
        """
        try:
            return await self._pursue()
        except asyncio.CancelledError:
            await self._withdraw()
            raise

    async def _pursue(self) -> Painted:
        while True:
            seen = self._wakeups.count
            try:
                painted = await self._step()
                self._trouble_since = None
            except ServerGone:
                raise
            except ComfyUIUnavailable as error:
                if not self._witnessed:
                    raise
                if self._trouble_lasts_too_long():
                    raise ServerGone(str(error), retry_after=error.retry_after) from error
                painted = None
            if painted is not None:
                return painted
            await self._wakeups.after(seen, self._patience.poll)

    async def _withdraw(self) -> None:
        """Takes the prompt off the server, unless it was sent for another job. Never raises, never takes long."""
        with anyio.move_on_after(CANCEL_SECONDS, shield=True):
            try:
                await withdraw_prompt(self._routes, self._order.prompt_id, self._order.extra_data)
            except ComfyUIUnavailable as error:
                _log.warning("A picture that nobody wants any more may still be painted: %s", error)

    def _trouble_lasts_too_long(self) -> bool:
        now = time.monotonic()
        self._trouble_since = self._trouble_since or now
        return now - self._trouble_since > self._patience.outage

    async def _step(self) -> Painted | None:
        queue = await self._routes.queue()
        self._watch.note(queue)
        if queue.find(self._order.prompt_id):
            self._witnessed, self._missing_since = True, None
            if self._watch.is_stuck:
                await self._give_up(queue)
            return None
        ended = await self._routes.history(self._order.prompt_id)
        if ended is not None and (ended.succeeded or ended.prompt.number != self._superseded):
            return await self._take(ended)
        if self._is_really_missing():
            await self._send()
        return None

    async def _take(self, ended: EndedPrompt) -> Painted | None:
        if ended.succeeded:
            return self._ready(ended)
        if self._witnessed and not ended.interrupted:
            raise ImageFailed(f"ComfyUI could not paint the picture: {ended.failure}.")
        # It failed for an earlier run, or somebody else stopped it: no picture was made, so painting it is no waste.
        self._superseded = ended.prompt.number
        await self._send()
        return None

    def _ready(self, ended: EndedPrompt) -> Painted:
        files = ended.saved_files(self._order.graph.output_node)
        if len(files) != 1:
            raise ImageFailed(f"ComfyUI saved {len(files)} pictures where the workflow promises one.")
        ours = was_sent_for(ended.prompt, self._order.extra_data)
        return Painted(files[0], ended.busy_seconds, adopted=not self._sends, ours=ours)

    def _is_really_missing(self) -> bool:
        now = time.monotonic()
        self._missing_since = self._missing_since or now
        return not self._witnessed or now - self._missing_since >= self._patience.settle

    async def _send(self) -> None:
        if self._sends == MAX_SENDS:
            raise ServerGone(f"ComfyUI lost or dropped the picture {MAX_SENDS} times.", retry_after=30)
        if self._sends:
            _log.warning("ComfyUI lost prompt %s; it is sent again", self._order.prompt_id)
        self._sends += 1
        await self._order.announce()
        self._witnessed, self._missing_since = True, None
        submission = await self._submit()
        if submission.refusal is not None:
            # With status 200 the valid branches run all the same, for nothing.
            await self._withdraw()
            raise ImageFailed(f"ComfyUI refuses the workflow: {submission.refusal}.")

    async def _submit(self) -> Submission:
        """Lets the request end even when the caller is cancelled: only then can the prompt be found and taken back."""
        order = self._order
        sending = asyncio.create_task(
            self._routes.submit(order.graph.nodes, prompt_id=order.prompt_id, extra_data=order.extra_data)
        )
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            with anyio.move_on_after(CANCEL_SECONDS, shield=True):
                await asyncio.gather(sending, return_exceptions=True)
            raise

    async def _give_up(self, queue: Queue) -> None:
        await self._withdraw()
        limit = f"{self._patience.image:.0f} seconds"
        if queue.head is not None and queue.head.prompt_id == self._order.prompt_id:
            raise ImageTimedOut(
                f"ComfyUI worked on the picture for more than {limit}. If its queue does not move, restart ComfyUI."
            )
        raise ServerGone(
            f"ComfyUI's queue has not moved for more than {limit}. Its executor may have died: restart ComfyUI.",
            retry_after=60,
        )


async def withdraw_prompt(routes: Routes, prompt_id: str, extra_data: Mapping[str, str]) -> None:
    """Takes the prompt off the server, unless it was sent for another job. Raises ComfyUIUnavailable."""
    item = (await routes.queue()).find(prompt_id)
    if item is not None and was_sent_for(item, extra_data):
        await cancel_prompt(routes, prompt_id)


def was_sent_for(item: QueuedPrompt, extra_data: Mapping[str, str]) -> bool:
    """Whether the prompt was sent for the job that `extra_data` tells of."""
    return extra_data.items() <= item.extra_data.items()


async def cancel_prompt(routes: Routes, prompt_id: str) -> None:
    """Removes the prompt from the queue or stops it, and never touches another. Raises ComfyUIUnavailable."""
    if await routes.cancel_job(prompt_id) is not None:
        return
    await routes.delete_pending(prompt_id)
    # Old servers interrupt whatever runs, so the running prompt must be seen to be this one.
    if any(item.prompt_id == prompt_id for item in (await routes.queue()).running):
        await routes.interrupt(prompt_id)
