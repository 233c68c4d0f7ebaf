"""One at work among the replicas: a lock in Redis that ends by itself when its holder dies."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.errors import RetryLater

LOCK_SECONDS: Final = 15.0
FENCE_SECONDS: Final = 30 * 24 * 3600

# Takes the free lock under the next fencing number, or renews it for the one whose value it holds.
HOLD: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] then return '' end
local value = ARGV[2]
if not held then
  value = ARGV[1] .. ':' .. redis.call('INCR', KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
return value
"""
LET_GO: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """What only one process may do at a time, and the Redis keys that see to it."""

    name: str
    lock_key: str
    fence_key: str


KEEPING_SLOTS: Final = Duty("keeping the slots", names.KEEPER_LOCK_KEY, names.KEEPER_FENCE_KEY)


class NotLeading(RetryLater):
    """Another process has taken over; this one must not act any more."""

    def __init__(self, duty: Duty) -> None:
        super().__init__(f"Another replica is {duty.name} now.")


class Leader:
    """A bid for a duty's lock, one in each process. The lock's value ends with a fencing number that only grows."""

    def __init__(self, redis: Redis, duty: Duty = KEEPING_SLOTS, *, seconds: float = LOCK_SECONDS) -> None:
        self.seconds = seconds
        self._duty = duty
        self._redis = redis
        self._holder = uuid4().hex
        self._value = ""
        self._until = 0.0

    @property
    def is_leading(self) -> bool:
        """Whether the lock was ours at the last look and has not run out since."""
        return bool(self._value) and time.monotonic() < self._until

    async def hold(self) -> bool:
        """Takes the lock if it is free, renews it if it is ours, and says whether we lead now."""
        asked, led = time.monotonic(), self.is_leading
        hold = self._redis.register_script(HOLD)
        keys = [self._duty.lock_key, self._duty.fence_key]
        self._value = await hold(keys, [self._holder, self._value, round(self.seconds * 1000), FENCE_SECONDS])
        self._until = asked + self.seconds
        if self.is_leading != led:
            log.info("This process is %s %s.", "now" if self.is_leading else "no longer", self._duty.name)
        return self.is_leading

    async def confirm(self) -> None:
        """Raises NotLeading unless the lock is ours, under the fencing number of our last successful bid."""
        if not self.is_leading or await self._redis.get(self._duty.lock_key) != self._value:
            self._value = ""
            raise NotLeading(self._duty)

    async def step_down(self) -> None:
        """Lets another replica take over at once."""
        value, self._value = self._value, ""
        try:
            await self._redis.register_script(LET_GO)([self._duty.lock_key], [value])
        except RedisError:
            log.info("The lock could not be given back; it ends by itself.")
