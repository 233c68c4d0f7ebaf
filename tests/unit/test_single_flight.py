from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import pytest

from tabario.single_flight import SingleFlight


@dataclass
class Question:
    """Answers with how often it was asked, once the gate is open."""

    gate: anyio.Event = field(default_factory=anyio.Event)
    asked: int = 0

    async def ask(self) -> int:
        self.asked += 1
        await self.gate.wait()
        return self.asked

    async def fail(self) -> int:
        await self.ask()
        raise ConnectionError


@pytest.fixture
def question() -> Question:
    return Question()


async def test_callers_at_the_same_time_share_one_answer(question: Question) -> None:
    flights, answers = SingleFlight[int](), list[int]()

    async def call() -> None:
        answers.append(await flights.share("a", question.ask))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        question.gate.set()
    assert answers == [1] * 20


async def test_another_key_and_a_later_caller_ask_for_themselves(question: Question) -> None:
    flights = SingleFlight[int]()
    question.gate.set()
    assert [await flights.share(key, question.ask) for key in ("a", "b", "a")] == [1, 2, 3]


async def test_a_caller_who_gives_up_does_not_take_the_answer_from_the_others(question: Question) -> None:
    flights, answers = SingleFlight[int](), list[int]()

    async def call(scope: anyio.CancelScope) -> None:
        with scope:
            answers.append(await flights.share("a", question.ask))

    async with anyio.create_task_group() as tasks:
        first, second = anyio.CancelScope(), anyio.CancelScope()
        tasks.start_soon(call, first)
        tasks.start_soon(call, second)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        question.gate.set()
    assert answers == [1]


async def test_a_failure_reaches_every_caller_and_is_not_kept(question: Question) -> None:
    flights, failures = SingleFlight[int](), list[str]()

    async def call() -> None:
        try:
            await flights.share("a", question.fail)
        except ConnectionError:
            failures.append("failed")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        question.gate.set()
    assert failures == ["failed"] * 2
    assert await flights.share("a", question.ask) == 2


async def test_closing_ends_what_is_under_way(question: Question) -> None:
    flights, ended = SingleFlight[int](), anyio.Event()

    async def wait() -> int:
        try:
            return await question.ask()
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flights.share, "a", wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    await flights.close()
    assert ended.is_set()
