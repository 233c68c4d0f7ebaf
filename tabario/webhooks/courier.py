"""Delivers what is in the outbox. One courier among all processes is at work; any can take over."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.clients.outbound import AddressRefused, NoAnswer, Reply
from tabario.metrics.definitions import WEBHOOK_ATTEMPTS, WEBHOOK_DELIVERY_SECONDS
from tabario.metrics.recorder import Recorder
from tabario.metrics.series import Observation
from tabario.slots.clock import Clock, utc_now
from tabario.slots.leader import Duty, Leader, NotLeading
from tabario.webhooks.messages import Attempt, Delivery, Message
from tabario.webhooks.outbox import Outbox
from tabario.webhooks.schedule import next_delay

AT_ONCE: Final = 8
LOOK_SECONDS: Final = 1.0
GONE: Final = 410
SUCCESS: Final = range(200, 300)

DELIVERING: Final = Duty("delivering webhooks", names.COURIER_LOCK_KEY, names.COURIER_FENCE_KEY)

log = logging.getLogger(__name__)


class Sending(Protocol):
    """Sends one message. `tabario.webhooks.endpoint` has the real one."""

    async def send(self, message: Message, *, at: datetime) -> Reply:
        """One attempt. Raises AddressRefused and NoAnswer."""
        ...


class Courier:
    """Tries each message until it arrives, its host says that it is gone, or the schedule ends. `run` it as a task."""

    def __init__(
        self, redis: Redis, endpoint: Sending, recorder: Recorder, *, clock: Clock = utc_now, look: float = LOOK_SECONDS
    ) -> None:
        self._outbox = Outbox(redis)
        self._leader = Leader(redis, DELIVERING)
        self._endpoint = endpoint
        self._recorder = recorder
        self._clock = clock
        self._look = look

    async def run(self) -> None:
        """Delivers until cancelled; then lets another process take over at once."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._outliving, self._leader.hold, self._leader.seconds / 3)
                group.start_soon(self._outliving, self.deliver_due, self._look)
        finally:
            with anyio.move_on_after(2, shield=True):
                await self._leader.step_down()

    async def lead(self) -> bool:
        """Bids for the duty, or keeps it; says whether this courier is the one at work."""
        return await self._leader.hold()

    async def deliver_due(self) -> int:
        """Tries what is due; returns how many were tried: none unless this courier is the one at work."""
        if not self._leader.is_leading:
            return 0
        with suppress(NotLeading):
            await self._leader.confirm()
            due = await self._outbox.take_due(self._clock(), limit=AT_ONCE)
            async with anyio.create_task_group() as group:
                for message in due:
                    group.start_soon(self._deliver, message)
            return len(due)
        return 0

    async def _outliving(self, work: Callable[[], Awaitable[object]], pause: float) -> None:
        """Repeats `work`, whatever goes wrong with it."""
        while True:
            try:
                await work()
            except RedisError as error:
                log.warning("Redis does not answer the courier (%s).", type(error).__name__)
            except Exception:  # a message that cannot be handled must not keep the others waiting
                log.exception("The courier failed; it tries again.")
            await anyio.sleep(pause)

    async def _deliver(self, message: Message) -> None:
        at, began = self._clock(), time.monotonic()
        reply, problem = await self._try(message, at)
        attempt = Attempt(
            at=at,
            seconds=round(time.monotonic() - began, 3),
            status=reply.status if reply else None,
            problem=problem,
        )
        tries = message.tries + 1
        delay = next_delay(tries, asked=reply.retry_after if reply else None)
        if reply is not None and reply.status in SUCCESS:
            delivery, outcome, delay = Delivery.DELIVERED, "delivered", None
        elif delay is None or (reply is not None and reply.status == GONE):
            delivery, outcome, delay = Delivery.GIVEN_UP, "given_up", None
        else:
            delivery, outcome = Delivery.PENDING, "retried"
        tried = message.model_copy(
            update={"delivery": delivery, "tries": tries, "attempts": (*message.attempts, attempt)}
        )
        await self._outbox.save(tried, due=None if delay is None else at + timedelta(seconds=delay))
        await self._recorder.record(f"{message.id}:{len(tried.attempts)}:webhook", *_observations(tried, outcome))
        level = logging.INFO if delivery is Delivery.DELIVERED else logging.WARNING
        log.log(level, "Webhook %s, attempt %d: %s, %s.", message.id, len(tried.attempts), attempt, outcome)

    async def _try(self, message: Message, at: datetime) -> tuple[Reply | None, str | None]:
        try:
            return await self._endpoint.send(message, at=at), None
        except (AddressRefused, NoAnswer) as error:
            return None, str(error)


def _observations(message: Message, outcome: str) -> list[Observation]:
    """A replay says nothing about how long a delivery takes."""
    counted = [WEBHOOK_ATTEMPTS.increment(outcome=outcome)]
    if message.delivery is Delivery.DELIVERED and message.tries == len(message.attempts):
        taken = (message.attempts[-1].at - message.created_at).total_seconds() + message.attempts[-1].seconds
        counted.append(WEBHOOK_DELIVERY_SECONDS.observe(taken))
    return counted
