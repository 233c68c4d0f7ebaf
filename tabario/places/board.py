"""The board in Redis that all workers read: who has a place at which server, and which servers take pictures.

Redis holds the cap, and not a Prefect global limit, because a limit only says full: it knows no order, so there is no
fairness between jobs, no tier, no grouping by model. And who is refused asks again after seconds, while the executor
idles: the benchmark `image_places_busy` runs both side by side.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis

from tabario import names

ROUND: Final = 4
"""Pictures that may go in a row, or twice as many between two rounds, to spare a server the loading of a model."""

SILENCE_SECONDS: Final = 15.0
"""After so long without a word a process counts as dead, and its places are given away."""

FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 30.0
LIFETIME_SECONDS: Final = 3600.0
DRAINING_SECONDS: Final = 30 * 24 * 3600
GIVEN_SECONDS: Final = 6 * 3600
"""So long it is remembered which server was sent a picture: longer than a picture waits and is painted there."""

_MATCH: Final = (files(__package__) / "match.lua").read_text(encoding="utf-8")
_CLOSE: Final = (files(__package__) / "close.lua").read_text(encoding="utf-8")
_MATCH_KEYS: Final = (
    names.PLACES_KEY,
    names.PLACES_PROCESSES_KEY,
    names.PLACES_TURNS_KEY,
    names.PLACES_MODELS_KEY,
    names.COMFYUI_TROUBLE_KEY,
    names.COMFYUI_DRAINING_KEY,
)


@dataclass(frozen=True, slots=True)
class Matched:
    """What the board says to one process. `granted`: ticket to server; `open`: server to the places it may fill."""

    granted: Mapping[str, str]
    open: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ServerState:
    """How many pictures a server has now, and why it takes no new ones."""

    pictures: int
    draining: bool
    closed: bool

    @property
    def away(self) -> bool:
        """Whether it takes no new pictures."""
        return self.draining or self.closed


class Board:
    """One per process. Raises RedisError when Redis does not answer. `places` is how many each server has."""

    def __init__(self, redis: Redis, *, places: int, silence: float = SILENCE_SECONDS) -> None:
        self._redis = redis
        self._places = places
        self._silence = silence
        self._match = redis.register_script(_MATCH)
        self._close = redis.register_script(_CLOSE)

    async def match(self, process: str, wanted: Mapping[str, Mapping[str, Any]]) -> Matched:
        """Says everything that the process has and wants, and hears what it got. Nothing wanted gives all back."""
        arguments: list[str | float] = [
            process,
            json.dumps(wanted),
            self._places,
            ROUND,
            _ms(self._silence),
            _ms(LIFETIME_SECONDS),
        ]
        reply = json.loads(await self._match(_MATCH_KEYS, arguments))
        return Matched(granted=dict(reply["granted"]), open=dict(reply["open"]))

    async def give(self, ticket: str, server: str) -> None:
        """The server is about to be sent the picture. Tickets end with their process; this is told to its successor."""
        key = names.given_key(ticket)
        async with self._redis.pipeline() as pipe:
            pipe.sadd(key, server)
            pipe.expire(key, GIVEN_SECONDS)
            await pipe.execute()

    async def given(self, ticket: str) -> frozenset[str]:
        """The servers that may have been sent the picture."""
        members = await self._redis.smembers(names.given_key(ticket))
        return frozenset(member if isinstance(member, str) else member.decode() for member in members)

    async def close(self, server: str) -> None:
        """The server failed: it gets no new pictures for a while, then one on probation."""
        times = [_ms(seconds) for seconds in (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LIFETIME_SECONDS)]
        await self._close([names.COMFYUI_TROUBLE_KEY], [server, *times])

    async def reopen(self, server: str) -> None:
        """The server works: it gets its full share again."""
        await self._redis.hdel(names.COMFYUI_TROUBLE_KEY, server)

    async def drain(self, server: str) -> None:
        """The server gets no new pictures until `refill`, or for `DRAINING_SECONDS`; it finishes those it has."""
        await self._redis.sadd(names.COMFYUI_DRAINING_KEY, server)
        await self._redis.expire(names.COMFYUI_DRAINING_KEY, DRAINING_SECONDS)

    async def refill(self, server: str) -> None:
        """The server gets new pictures again."""
        await self._redis.srem(names.COMFYUI_DRAINING_KEY, server)

    async def states(self, servers: Sequence[str]) -> dict[str, ServerState]:
        """Each server as it is now. Tickets of processes that died a moment ago still count."""
        tickets = [json.loads(text) for text in (await self._redis.hgetall(names.PLACES_KEY)).values()]
        places = Counter(ticket["server"] for ticket in tickets)
        seconds, microseconds = await self._redis.time()
        now = _ms(seconds) + microseconds / 1000
        states = {}
        for server in servers:
            trouble = await self._redis.hget(names.COMFYUI_TROUBLE_KEY, server)
            states[server] = ServerState(
                pictures=places[server],
                draining=bool(await self._redis.sismember(names.COMFYUI_DRAINING_KEY, server)),
                closed=trouble is not None and json.loads(trouble)["closed_until"] > now,
            )
        return states


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
