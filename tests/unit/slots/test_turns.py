"""Parallel requests of one user ask one after another and share a refusal, never a success."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from tabario.errors import RetryLater, SlotsFull
from tabario.slots.turns import Turns

FULL = SlotsFull(limit=1, retry_after=5)


class Desk:
    """Answers when it is told to, and notes how many asked, and how many at once at most."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.asked = self.at_once = self._now = 0
        self.opens = anyio.Event()

    async def __call__(self) -> str:
        self.asked += 1
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        await self.opens.wait()
        self._now -= 1
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def ask_all(turns: Turns[str], keys: list[str], desk: Desk) -> list[str]:
    """What each is told; all come before the desk opens."""
    told: list[str] = []

    async def one(key: str) -> None:
        try:
            told.append(await turns.take(key, desk))
        except (SlotsFull, RetryLater, ValueError) as refusal:
            told.append(type(refusal).__name__)

    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(one, key)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        desk.opens.set()
    return sorted(told)


async def test_one_asks_at_a_time_and_each_success_is_its_own() -> None:
    desk = Desk("a", "b", "c")
    assert await ask_all(Turns(), ["user"] * 3, desk) == ["a", "b", "c"]
    assert desk.at_once == 1


@pytest.mark.parametrize("refusal", [FULL, RetryLater("busy")])
async def test_those_who_came_before_a_refused_one_asked_are_told_the_same(refusal: Exception) -> None:
    desk = Desk(refusal, "not asked for")
    assert await ask_all(Turns(), ["user"] * 3, desk) == [type(refusal).__name__] * 3
    assert desk.asked == 1


async def test_who_comes_after_a_refusal_asks_anew() -> None:
    turns, desk = Turns[str](), Desk(FULL, "in")
    desk.opens.set()
    with pytest.raises(SlotsFull):
        await turns.take("user", desk)
    assert await turns.take("user", desk) == "in"


async def test_any_other_error_is_its_callers_alone() -> None:
    desk = Desk(ValueError("mine"), "a", "b")
    assert await ask_all(Turns(), ["user"] * 3, desk) == ["ValueError", "a", "b"]


async def test_users_do_not_wait_for_each_other() -> None:
    desk = Desk("a", "b")
    assert await ask_all(Turns(), ["one", "two"], desk) == ["a", "b"]
    assert desk.at_once == 2
