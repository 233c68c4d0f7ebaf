from __future__ import annotations

import asyncio

import pytest

from flows.cancelling import cancelled_once


class Work:
    """Waits for ever; its clean-up takes as long as `may_end` says."""

    def __init__(self) -> None:
        self.began, self.cleans_up, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.cleaned_up = False

    async def run(self) -> None:
        try:
            self.began.set()
            await asyncio.Event().wait()
        finally:
            self.cleans_up.set()
            await self.may_end.wait()
            self.cleaned_up = True


async def test_the_result_is_passed_on() -> None:
    async def work() -> int:
        return 7

    assert await cancelled_once(work()) == 7


async def test_a_second_cancellation_waits_for_the_clean_up() -> None:
    work = Work()
    caller = asyncio.create_task(cancelled_once(work.run()))
    await work.began.wait()
    caller.cancel()
    await work.cleans_up.wait()

    caller.cancel()
    work.may_end.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.cleaned_up
