"""The faults. Each strikes a user of its own at an exact moment, and says how to see that its effects are over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

import psutil

from tabario.tiers import Tier
from tests.chaos.arena import Arena, MomentMissed
from tests.chaos.proxy import Trap, nothing
from tests.chaos.users import User
from tests.chaos.witness import TERMINAL

CLAIM: Final = "/concurrency_limits/increment-with-lease"
GRANTED: Final = b'"limits":[{'
CREATE: Final = "/create_flow_run"
RELEASE: Final = "/concurrency_limits/decrement-with-lease"
SCENES: Final = 4  # enough to be killed in the middle of the work

Healed = Callable[[], Awaitable[bool]]
Strike = Callable[[Arena, random.Random], Awaitable[Healed]]


# --- the front door dies, or a reply to it is lost ---


async def front_door_after_claim(arena: Arena, chance: random.Random) -> Healed:
    """The slot is claimed, and the run is never made: the slot comes back."""
    user = _somebody(arena, chance)
    await _lose_claim(arena, user, arena.killer("front door"))
    return _slot_is_free(arena, user)


async def front_door_after_create(arena: Arena, chance: random.Random) -> Healed:
    """The run is made, and nobody knows of it: it keeps its slot, and others can start jobs."""
    user = _somebody(arena, chance)
    trap = Trap(CREATE, body=user.id, strike=arena.killer("front door"))
    await arena.sprung(trap, while_doing=_until_sprung(user, trap))
    return _serves(arena, user)


async def keeper_mid_release(arena: Arena, chance: random.Random) -> Healed:
    """The keeper is elected to release a slot, and dies before or after Prefect hears of it."""
    user, lease_id = await _started(arena, chance)
    trap = Trap(RELEASE, body=lease_id, strike=arena.killer("front door"), forward=chance.random() < 0.5)
    await arena.sprung(trap)
    return _slot_is_free(arena, user)


async def lost_claim_reply(arena: Arena, chance: random.Random) -> Healed:
    """The front door cannot know that the slot is taken: it comes back."""
    user = _somebody(arena, chance)
    await _lose_claim(arena, user, nothing)
    return _slot_is_free(arena, user)


async def lost_create_reply(arena: Arena, chance: random.Random) -> Healed:
    """The front door asks again and gets the same run."""
    user = _somebody(arena, chance)
    trap = Trap(CREATE, body=user.id)
    await arena.sprung(trap, while_doing=_until_sprung(user, trap))
    return _serves(arena, user)


async def lost_release_reply(arena: Arena, chance: random.Random) -> Healed:
    """The slot is free, once, and the keeper must not free it again."""
    user, lease_id = await _started(arena, chance)
    await arena.sprung(Trap(RELEASE, body=lease_id))
    return _slot_is_free(arena, user)


# --- processes die ---


async def worker_killed(arena: Arena, chance: random.Random) -> Healed:
    """The flow lives on without its worker: the job ends and its slot is free."""
    user, run = await _running(arena, chance)
    await arena.kill("worker")
    return _is_settled(arena, user, run)


async def flow_killed(arena: Arena, chance: random.Random) -> Healed:
    """The worker reports the crash, and the job goes on where it was."""
    user, run = await _running(arena, chance)
    _flow(arena, run).kill()
    return _runs_again(arena, user, run)


async def worker_and_flow_killed(arena: Arena, chance: random.Random) -> Healed:
    """Nobody is left to report the crash."""
    user, run = await _running(arena, chance)
    _flow(arena, run).kill()
    await arena.kill("worker")
    return _runs_again(arena, user, run)


async def fork_server_killed(arena: Arena, chance: random.Random) -> Healed:
    """Every job of the worker dies with it, and goes on where it was."""
    user, run = await _running(arena, chance)
    await arena.kill("fork server")
    return _runs_again(arena, user, run)


async def stuck_pending(arena: Arena, chance: random.Random) -> Healed:
    """The worker took the run and died before the flow began."""
    user = _somebody(arena, chance)
    run = await arena.accepted(user, _title(), scenes=SCENES)
    await arena.reached(run, "PENDING")
    await arena.kill("worker")
    for _ in range(10):
        if flow := arena.flow_process(run):
            flow.kill()
        await asyncio.sleep(0.1)
    await arena.reached(run, "PENDING")
    return _runs_again(arena, user, run)


async def prefect_killed(arena: Arena, chance: random.Random) -> Healed:
    """The server and its database's connections die in the middle of everything."""
    user, _ = await _running(arena, chance)
    await arena.kill("prefect")
    return _serves(arena, user)


async def redis_killed(arena: Arena, chance: random.Random) -> Healed:
    """Leases, records, queue and counts come back from the append-only file."""
    user, _ = await _running(arena, chance)
    await arena.kill("redis")
    return _serves(arena, user)


async def lease_forgotten(arena: Arena, chance: random.Random) -> Healed:
    """Redis loses a lease that a job lives by: the job keeps its slot, under another lease."""
    user, run = await _running(arena, chance)
    before = arena.witness.run(run)
    if before is None:
        raise MomentMissed("the run is not in the database")
    await arena.forget_lease(before.lease_id)

    async def healed() -> bool:
        now = arena.witness.run(run)
        if now is None or not _is_right(arena, user):
            return False
        return now.lease_id != before.lease_id or now.state in TERMINAL

    return healed


# --- users change their minds ---


async def cancel_before_start(arena: Arena, chance: random.Random) -> Healed:
    """The run is still in the queue."""
    user = _somebody(arena, chance)
    async with arena.frozen("worker"):
        run = await arena.accepted(user, _title())
        await _cancel(user, run)
    return _is_settled(arena, user, run)


async def cancel_running(arena: Arena, chance: random.Random) -> Healed:
    """The flow is in the middle of its work."""
    user, run = await _running(arena, chance)
    await _cancel(user, run)
    return _is_settled(arena, user, run)


FAULTS: Final[dict[str, Strike]] = {
    strike.__name__: strike
    for strike in (
        front_door_after_claim,
        lost_claim_reply,
        stuck_pending,
        lost_release_reply,
        keeper_mid_release,
        worker_and_flow_killed,
        lease_forgotten,
        flow_killed,
        fork_server_killed,
        worker_killed,
        cancel_before_start,
        cancel_running,
        lost_create_reply,
        front_door_after_create,
        redis_killed,
        prefect_killed,
    )
}
"""By name; those that take longest to heal first."""

SLOW: Final = frozenset(
    strike.__name__
    for strike in (
        front_door_after_claim,
        lost_claim_reply,
        stuck_pending,
        keeper_mid_release,
        worker_and_flow_killed,
        lease_forgotten,
    )
)
"""Those that may take longer than 20 s to heal, also when they come alone."""


# --- how a fault gets to its moment ---


def _somebody(arena: Arena, chance: random.Random) -> User:
    return arena.new_user(chance.choice(list(Tier)))


def _title() -> str:
    return f"job {uuid4().hex}"


async def _started(arena: Arena, chance: random.Random) -> tuple[User, str]:
    """A user whose job is under way, and the lease that holds its slot."""
    user = _somebody(arena, chance)
    run = await arena.accepted(user, _title())
    sighting = arena.witness.run(run)
    if sighting is None:
        raise MomentMissed("the run is not in the database")
    return user, sighting.lease_id


async def _running(arena: Arena, chance: random.Random) -> tuple[User, str]:
    """A user, and the user's job in the middle of its work."""
    user = _somebody(arena, chance)
    run = await arena.accepted(user, _title(), scenes=SCENES)
    await arena.reached(run, "RUNNING")
    return user, run


async def _lose_claim(arena: Arena, user: User, strike: Callable[[], None]) -> None:
    trap = Trap(CLAIM, body=user.id, reply=GRANTED, strike=strike)
    await arena.sprung(trap, while_doing=_until_sprung(user, trap))


async def _until_sprung(user: User, trap: Trap) -> None:
    """Submits until the trap has sprung: another fault may have closed the front door."""
    while not trap.sprung.is_set():
        await user.submit(_title())
        if not trap.sprung.is_set():
            await asyncio.sleep(1)


def _flow(arena: Arena, run: str) -> psutil.Process:
    flow = arena.flow_process(run)
    if flow is None:
        raise MomentMissed("the flow has no process any more")
    return flow


async def _cancel(user: User, run: str) -> None:
    if not await user.cancel(run):
        raise MomentMissed("the run could not be cancelled")


# --- how its end is seen ---


def _slot_is_free(arena: Arena, user: User) -> Healed:
    async def healed() -> bool:
        return arena.witness.taken().get(user.id, 0) == 0

    return healed


def _is_settled(arena: Arena, user: User, run: str) -> Healed:
    """The run has ended and its slot is free."""

    async def healed() -> bool:
        sighting = arena.witness.run(run)
        return sighting is not None and sighting.ended is not None and arena.witness.taken().get(user.id, 0) == 0

    return healed


def _runs_again(arena: Arena, user: User, run: str) -> Healed:
    """Another process makes the job, or it has ended, and the slots are counted right.

    A crashed run that is to be resumed keeps its slot, so that the count shows one too many until then.
    """
    before = arena.witness.run(run)
    count = before.run_count if before else 0

    async def healed() -> bool:
        now = arena.witness.run(run)
        if now is None or not _is_right(arena, user):
            return False
        return now.run_count > count or now.state in TERMINAL

    return healed


def _serves(arena: Arena, user: User) -> Healed:
    """The front door starts jobs, and the user's slots are counted right."""

    async def healed() -> bool:
        return await arena.is_ready() and _is_right(arena, user)

    return healed


def _is_right(arena: Arena, user: User) -> bool:
    return arena.witness.taken().get(user.id, 0) == arena.witness.live(user.id)
