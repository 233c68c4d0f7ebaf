"""The outbox: webhooks in Redis, from the end of a job until a week after the last attempt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from tabario import names
from tabario.errors import NotFound
from tabario.webhooks.messages import Delivery, Message

KEPT_SECONDS: Final = 7 * 24 * 3600
ATTEMPT_SECONDS: Final = 120
"""How long a taken message is left to its taker: longer than any attempt."""

# Writes a message that is not there yet, and lists it as due and in the log, all or nothing.
PUT: Final = """
if not redis.call('SET', KEYS[1], ARGV[2], 'NX', 'EX', ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[3] - ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[4])
return 1
"""
# Takes what is due, and puts it off so that nobody else takes it meanwhile.
TAKE: Final = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], id) end
return due
"""


class Outbox:
    """Messages by id. `redis` decodes its answers; its errors pass through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._put = redis.register_script(PUT)
        self._take = redis.register_script(TAKE)

    async def put(self, message: Message) -> bool:
        """Takes a message in, due at once; says False when it is there already."""
        keys = [names.webhook_key(message.id), names.WEBHOOKS_DUE_KEY, names.WEBHOOKS_LOG_KEY]
        created = message.created_at.timestamp()
        return bool(await self._put(keys, [message.id, message.model_dump_json(), created, KEPT_SECONDS]))

    async def take_due(self, now: datetime, *, limit: int) -> list[Message]:
        """Up to `limit` messages whose time has come. One that is neither saved nor dropped comes back by itself."""
        moment = now.timestamp()
        ids = await self._take([names.WEBHOOKS_DUE_KEY], [moment, moment + ATTEMPT_SECONDS, limit])
        found = dict(zip(ids, await self._read(ids), strict=True))
        if expired := [one for one, message in found.items() if message is None]:
            await self._redis.zrem(names.WEBHOOKS_DUE_KEY, *expired)
        return [message for message in found.values() if message is not None]

    async def save(self, message: Message, *, due: datetime | None) -> None:
        """Writes what became of a message, and when it is tried again, if ever."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(names.webhook_key(message.id), message.model_dump_json(), ex=KEPT_SECONDS)
            if due is None:
                pipeline.zrem(names.WEBHOOKS_DUE_KEY, message.id)
            else:
                pipeline.zadd(names.WEBHOOKS_DUE_KEY, {message.id: due.timestamp()})
                pipeline.expire(names.WEBHOOKS_DUE_KEY, KEPT_SECONDS)
            await pipeline.execute()

    async def find(self, message_id: str) -> Message:
        """One message. Raises NotFound."""
        (message,) = await self._read([message_id])
        if message is None:
            raise NotFound("There is no such webhook in the outbox; they are kept for a week.")
        return message

    async def latest(self, *, limit: int) -> list[Message]:
        """The newest messages, whatever became of them."""
        ids: list[str] = await self._redis.zrevrange(names.WEBHOOKS_LOG_KEY, 0, limit - 1)  # type: ignore[assignment]  # the client decodes
        found = await self._read(ids)
        return [message for message in found if message is not None]

    async def replay(self, message_id: str, now: datetime) -> Message:
        """Makes a message due at once, with all its tries before it, under the same id. Raises NotFound."""
        message = await self.find(message_id)
        again = message.model_copy(update={"delivery": Delivery.PENDING, "tries": 0})
        await self.save(again, due=now)
        return again

    async def pending(self) -> int:
        """How many are still to be delivered."""
        return int(await self._redis.zcard(names.WEBHOOKS_DUE_KEY))

    async def _read(self, ids: Sequence[str]) -> list[Message | None]:
        texts = await self._redis.mget([names.webhook_key(one) for one in ids]) if ids else []
        return [None if text is None else Message.model_validate_json(text) for text in texts]
