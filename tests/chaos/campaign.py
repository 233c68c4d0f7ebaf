"""A campaign: users submit jobs all the time while one fault follows another."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

import psutil
from rich.console import Console

from tabario.tiers import Tier
from tests.chaos.arena import Arena, MomentMissed
from tests.chaos.faults import FAULTS, Healed

SHORT_SECONDS: Final = 600
"""A shorter campaign goes through the faults in order, those that heal slowly first, and back."""
LANES: Final = 2
"""Faults that are prepared at a time, so that they meet each other."""
PAUSES: Final = (0.0, 0.0, 3.0, 8.0)
HEAL_SECONDS: Final = 360.0
"""Three rescues of up to two minutes: a run is begun three times, and the next faults may kill it each time."""
HEAL_LOOK_SECONDS: Final = 0.1
SECONDS_EACH: Final = 180.0
TRIES: Final = 4
CROWD: Final = (Tier.STANDARD, Tier.STANDARD, Tier.PREMIUM)
CROWD_SECONDS: Final = 3.0
CROWD_LIVE: Final = 2
"""Above so many jobs only users whose slots are all taken submit: they must be refused."""
TITLES: Final = 40
"""Jobs of the crowd repeat now and then, also at the same time, so that pictures are adopted."""


class Turn(NamedTuple):
    """The next fault to make, and the luck it has."""

    fault: str
    chance: random.Random


@dataclass
class FaultRecord:
    """How often a fault was made, and the times in seconds until its effects were over."""

    injected: int = 0
    healed_s: list[float] = field(default_factory=list)
    unhealed: int = 0

    @property
    def healed_max_s(self) -> float:
        """The longest."""
        return max(self.healed_s, default=0.0)

    @property
    def healed_median_s(self) -> float:
        """The one in the middle."""
        return median(self.healed_s) if self.healed_s else 0.0


@dataclass
class Campaign:
    """Runs for at least `seconds`, and until each of `faults` was made `least` times. The `seed` decides the order."""

    arena: Arena
    console: Console
    seconds: float
    seed: int
    faults: Sequence[str] = tuple(FAULTS)
    records: dict[str, FaultRecord] = field(init=False)
    _missed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.records = {name: FaultRecord() for name in self.faults}

    async def run(self) -> None:
        """Makes faults while the crowd submits, and returns when the last fault has healed."""
        order = self._order(until=time.monotonic() + self.seconds)
        async with self._crowd(), asyncio.TaskGroup() as healing:
            await asyncio.gather(*(self._strike_on(order, healing) for _ in range(LANES)))

    async def _strike_on(self, order: Iterator[Turn], healing: asyncio.TaskGroup) -> None:
        for turn in order:
            try:
                healed = await FAULTS[turn.fault](self.arena, turn.chance)
            except (MomentMissed, psutil.NoSuchProcess, sqlite3.OperationalError) as missed:
                self._missed[turn.fault] += 1
                self._say(turn.fault, f"not made: {missed}")
                continue
            self.records[turn.fault].injected += 1
            self._say(turn.fault, "made")
            healing.create_task(self._watch(turn.fault, healed, time.monotonic()))
            if not self._is_short:
                await asyncio.sleep(turn.chance.choice(PAUSES))

    @property
    def least(self) -> int:
        """How often each fault is made at least: once in a short campaign, 20 times in one of an hour."""
        return max(1, round(self.seconds / SECONDS_EACH))

    @property
    def _is_short(self) -> bool:
        return self.seconds < SHORT_SECONDS

    def _order(self, *, until: float) -> Iterator[Turn]:
        """All faults, again and again; then those that were not made often enough yet, for a few tries."""
        order = random.Random(self.seed)  # noqa: S311 - not for secrets
        names = list(self.faults)
        while True:
            if not self._is_short:
                order.shuffle(names)
            for name in names:
                if time.monotonic() < until or self._is_due(name):
                    yield Turn(name, random.Random(order.random()))  # noqa: S311 - the same
            if time.monotonic() >= until and not any(map(self._is_due, names)):
                return
            names.reverse()

    def _is_due(self, name: str) -> bool:
        return self.records[name].injected < self.least and self._missed[name] < TRIES * self.least

    async def _watch(self, name: str, healed: Healed, since: float) -> None:
        record = self.records[name]
        while not await self._is_over(healed):
            if time.monotonic() - since > HEAL_SECONDS:
                record.unhealed += 1
                self._say(name, f"not healed within {HEAL_SECONDS:.0f} s")
                return
            await asyncio.sleep(HEAL_LOOK_SECONDS)
        seconds = time.monotonic() - since
        record.healed_s.append(round(seconds, 1))
        self._say(name, f"healed after {seconds:.1f} s")

    async def _is_over(self, healed: Healed) -> bool:
        try:
            return await healed()
        except sqlite3.OperationalError:  # the server is just being killed, or comes back
            return False

    def _say(self, name: str, what: str) -> None:
        self.console.print(f"  {time.strftime('%H:%M:%S')}  {name:<24} {what}", soft_wrap=True)

    @asynccontextmanager
    async def _crowd(self) -> AsyncIterator[None]:
        crowd = asyncio.create_task(self._submit_on(random.Random(self.seed)), name="crowd")  # noqa: S311 - the same
        try:
            yield
        finally:
            crowd.cancel()
            await asyncio.gather(crowd, return_exceptions=True)

    async def _submit_on(self, chance: random.Random) -> None:
        users = [self.arena.new_user(tier) for tier in CROWD]
        limits = self.arena.ledger.limits
        while True:
            live = Counter(run.user_id for run in self.arena.witness.runs() if run.ended is None)
            busy = live.total() >= CROWD_LIVE
            able = [user for user in users if not busy or live[user.id] >= limits[user.id]]
            if able:
                await chance.choice(able).submit(f"the crowd's job {chance.randrange(TITLES)}", scenes=2)
            await asyncio.sleep(CROWD_SECONDS)
