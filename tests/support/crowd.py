"""Many users who submit jobs at the same time through several front doors, and what they were told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from statistics import quantiles
from typing import Final
from uuid import UUID, uuid4

import anyio
import httpx

from tabario.tiers import Tier
from tests.support.front_door_process import FrontDoorProcess
from tests.support.tokens import token

PATIENCE_SECONDS: Final = 120.0
REPLY_SECONDS: Final = 60.0
LONGEST_PAUSE: Final = 5.0
BODY: Final = {"script": "The sun rises over the sea.", "caption": "Morning"}


@dataclass(frozen=True)
class User:
    """Somebody with a token."""

    id: str
    tier: Tier

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(user_id=self.id, tier=self.tier)}"}


def new_users(count: int) -> list[User]:
    """So many users, every second one premium."""
    return [User(str(uuid4()), tier) for tier, _ in zip(cycle(Tier), range(count), strict=False)]


@dataclass(frozen=True)
class Reply:
    """The last answer to a submission: when its request was sent, and the seconds that it took."""

    user: User
    response: httpx.Response
    seconds: float

    @property
    def code(self) -> str:
        """The stable code of a refusal."""
        return str(self.response.json()["code"])

    @property
    def flow_run_id(self) -> UUID:
        """The run of an accepted job."""
        return UUID(self.response.json()["flow_run_id"])


@dataclass
class Tally:
    """What all submissions together came to."""

    replies: list[Reply] = field(default_factory=list)
    retried: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def with_status(self, status: int) -> list[Reply]:
        return [reply for reply in self.replies if reply.response.status_code == status]

    def accepted(self, user: User) -> int:
        """How many jobs of the user were let in."""
        return sum(reply.user is user for reply in self.with_status(httpx.codes.ACCEPTED))

    def lines(self) -> Iterator[str]:
        """The figures, for people to read."""
        accepted, refused = self.with_status(httpx.codes.ACCEPTED), self.with_status(httpx.codes.CONFLICT)
        requests = len(self.replies) + self.retried.total()
        yield f"accepted {len(accepted)}, refused {len(refused)}, retried {dict(self.retried)}"
        yield f"{requests} requests in {self.seconds:.1f} s: {requests / self.seconds:.1f}/s"
        yield f"202: {_percentiles(accepted)}"
        yield f"409: {_percentiles(refused)}"


def _percentiles(replies: Sequence[Reply]) -> str:
    cuts = quantiles((reply.seconds for reply in replies), n=100)
    return f"p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s"


async def submit_all(users: Iterable[User], doors: Sequence[FrontDoorProcess], *, times: int, at_once: int) -> Tally:
    """Each user submits `times` jobs, through each front door in turn; `at_once` requests are under way at a time."""
    tally, began = Tally(), time.monotonic()
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=door.url, timeout=REPLY_SECONDS, limits=limits))
            for door in doors
        ]
        turns = anyio.CapacityLimiter(at_once)
        async with anyio.create_task_group() as group:
            for number in range(times):
                for user in users:
                    group.start_soon(_submit, clients[number % len(clients)], user, turns, tally)
    tally.seconds = time.monotonic() - began
    return tally


async def _submit(client: httpx.AsyncClient, user: User, turns: anyio.CapacityLimiter, tally: Tally) -> None:
    """Submits a job, and again while the answer is to come back later."""
    with anyio.fail_after(PATIENCE_SECONDS * 4):
        while True:
            async with turns:
                began = time.monotonic()
                response = await client.post("/orchestrate/start", json=BODY, headers=user.headers)
                seconds = time.monotonic() - began
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                tally.replies.append(Reply(user, response, seconds))
                return
            tally.retried[response.json()["detail"]] += 1
            await anyio.sleep(min(LONGEST_PAUSE, float(response.headers["Retry-After"])))
