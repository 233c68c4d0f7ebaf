"""Places at ComfyUI servers, handed round by a real Redis to processes that each have a client of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from itertools import groupby
from typing import Any

import pytest
from redis.asyncio import Redis

from tabario.errors import RetryLater
from tabario.places import WEIGHTS, Places, Turn
from tabario.places.board import ROUND, Board
from tabario.tiers import Tier
from tests.support.servers import free_port
from tests.support.waiting import eventually

NOW = 0.001
"""A process that has been silent for longer than this many seconds counts as dead."""


def ticket(job: str = "job", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any of a ticket's fields
    return {"job": job, "model": "m", "weight": 1, "order": 0, "servers": ["one"], "server": ""} | changes


@pytest.fixture
def board(redis: Redis) -> Board:
    return Board(redis, places=2)


async def served(board: Board, wanted: dict[str, dict[str, Any]], count: int) -> list[str]:
    """Who gets a place, one after the other, when each picture is painted as soon as it has one."""
    order: list[str] = []
    while len(order) < count:
        granted = (await board.match("process", wanted)).granted
        one = min(granted, key=lambda name: (name in order, list(granted).index(name)))
        order.append(one)
        wanted = {name: entry for name, entry in wanted.items() if name != one}
    return order


async def test_a_server_never_has_more_pictures_than_places_whoever_asks(redis: Redis) -> None:
    held, most = Counter[str](), Counter[str]()

    async def paint(places: Places, name: str) -> None:
        async with places.place(name, Turn("job" + name[0], 1, "m"), ["one", "two"]) as server:
            held[server] += 1
            most[server] = max(most[server], held[server])
            await asyncio.sleep(0)
            held[server] -= 1

    async with AsyncExitStack() as stack:
        processes = [Places(Board(redis, places=2), places=2, patience=5) for _ in range(3)]
        for process in processes:
            await stack.enter_async_context(process.opened())
        await asyncio.gather(
            *(paint(process, f"{number}-{picture}") for number, process in enumerate(processes) for picture in range(8))
        )

    assert most == {"one": 2, "two": 2}


async def test_both_servers_are_filled_before_either_gets_a_second_picture(board: Board) -> None:
    wanted = {str(n): ticket(order=n, servers=["one", "two"]) for n in range(2)}
    matched = await board.match("process", wanted)
    assert set(matched.granted.values()) == {"one", "two"}


async def test_a_job_with_few_pictures_is_not_stuck_behind_one_with_many(board: Board) -> None:
    many = {f"many-{n}": ticket("many", order=n) for n in range(20)}
    await board.match("other", many)
    granted = (await board.match("process", {"few-1": ticket("few", order=99)})).granted
    assert granted == {}
    del many["many-0"]
    await board.match("other", {name: many[name] for name in many})
    assert (await board.match("process", {"few-1": ticket("few", order=99)})).granted == {"few-1": "one"}


async def test_jobs_take_turns_by_the_weight_of_their_tier(redis: Redis) -> None:
    board = Board(redis, places=1)
    wanted = {
        f"{tier.value}-{n}": ticket(tier.value, weight=WEIGHTS[tier], order=n) for tier in Tier for n in range(30)
    }
    first = Counter(name.partition("-")[0] for name in await served(board, wanted, 30))
    assert first == {"premium": 20, "standard": 10}


async def test_pictures_of_one_model_go_together_but_not_for_ever(redis: Redis) -> None:
    board = Board(redis, places=1)
    wanted = {f"{model}-{n}": ticket(f"job-{model}", model=model, order=n) for n in range(12) for model in "xy"}
    models = [name[0] for name in await served(board, wanted, 24)]
    rows = [len(list(row)) for _, row in groupby(models)]
    assert min(rows) >= ROUND
    assert max(rows) <= 2 * ROUND


async def test_a_dead_process_loses_its_places_and_its_successor_takes_them_over(redis: Redis) -> None:
    wanted = {name: ticket() for name in ("mine", "lost")}
    await Board(redis, places=2).match("dead", wanted)
    impatient = Board(redis, places=2, silence=NOW)
    mine = {"mine": ticket(order=1), "new": ticket(order=2)}

    async def has_taken_over() -> bool:
        return (await impatient.match("successor", mine)).granted == {"mine": "one", "new": "one"}

    await eventually(has_taken_over, within=5, what="the dead process is noticed")


async def test_a_picture_that_another_process_has_waits_until_it_is_painted(board: Board) -> None:
    assert (await board.match("first", {"same": ticket()})).granted == {"same": "one"}
    assert (await board.match("second", {"same": ticket()})).granted == {}
    await board.match("first", {})
    assert (await board.match("second", {"same": ticket()})).granted == {"same": "one"}


async def test_a_picture_found_at_a_server_counts_there_even_when_it_is_full(board: Board) -> None:
    await board.match("process", {"1": ticket(), "2": ticket()})
    assert (await board.match("other", {"found": ticket(server="one")})).granted == {"found": "one"}
    assert (await board.match("third", {"new": ticket()})).granted == {}


async def test_a_draining_server_gets_no_new_pictures_until_it_is_refilled(board: Board) -> None:
    await board.drain("one")
    wanted = {str(n): ticket(order=n, servers=["one", "two"]) for n in range(3)}
    assert (await board.match("process", wanted)).granted == {"0": "two", "1": "two"}
    await board.refill("one")
    assert len((await board.match("process", wanted)).granted) == 3


async def test_a_failed_server_is_closed_then_on_probation_then_open_again(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabario.places.board.FIRST_PAUSE_SECONDS", 0.05)
    wanted = {str(n): ticket(order=n) for n in range(3)}
    await board.close("one")
    assert not (await board.match("process", wanted)).granted

    async def is_on_probation() -> bool:
        return list((await board.match("process", wanted)).granted) == ["0"]

    await eventually(is_on_probation, within=10, what="the server gets one picture")
    await board.reopen("one")
    assert len((await board.match("process", wanted)).granted) == 2


async def test_a_picture_given_back_by_a_server_that_failed_goes_to_another_one_at_once(board: Board) -> None:
    wanted = {"picture": ticket(servers=["one", "two"])}
    await board.drain("two")
    assert (await board.match("process", wanted)).granted == {"picture": "one"}
    await board.refill("two")
    await board.close("one")
    again = {"picture": ticket(servers=["one", "two"], order=1)}
    assert (await board.match("process", again)).granted == {"picture": "two"}


async def test_a_place_that_another_process_s_question_got_for_a_picture_is_heard_of_and_kept(board: Board) -> None:
    await board.match("painter", {"1": ticket("painting"), "2": ticket("painting")})
    mine = {"mine": ticket("mine")}
    assert not (await board.match("waiting", mine)).granted
    assert not (await board.match("other", {"theirs": ticket("theirs")})).granted
    await board.match("painter", {})  # done, and so the two that wait get its places
    await board.match("newcomer", {str(number): ticket(f"new-{number}") for number in range(4)})
    for _ in range(3):
        assert (await board.match("waiting", mine)).granted == {"mine": "one"}


async def test_waiting_ends_when_no_server_is_open_for_too_long(board: Board) -> None:
    await board.close("one")
    places = Places(board, places=2, patience=0.1)
    async with places.opened():
        with pytest.raises(RetryLater, match="No ComfyUI server"):
            async with places.place("picture", Turn("job", 1, "m"), ["one"]):
                pass


async def test_without_redis_a_process_keeps_to_its_own_share() -> None:
    async with Redis.from_url(f"redis://127.0.0.1:{free_port()}") as nobody:
        places = Places(Board(nobody, places=2), places=2, patience=5)
        async with places.opened(), AsyncExitStack() as stack:
            turn = Turn("job", 1, "m")
            for name in ("1", "2"):
                assert await stack.enter_async_context(places.place(name, turn, ["one"])) == "one"
            third = asyncio.create_task(stack.enter_async_context(places.place("3", turn, ["one"])))
            done, _ = await asyncio.wait({third}, timeout=0.5)
            assert not done
            third.cancel()


async def test_nothing_stays_in_redis_for_ever(board: Board, redis: Redis) -> None:
    await board.match("process", {"1": ticket()})
    await board.close("one")
    await board.drain("two")
    await board.give("1", "one")
    keys = await redis.keys("*")
    assert len(keys) == 7
    assert all([await redis.ttl(key) > 0 for key in keys])
