"""The Idempotency-Key: a start that is repeated gives the same run, whatever became of the first reply."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from api.bodies import RunIds
from api.remaking import Remake
from api.submission import StartInDoubt, Submission
from tabario import names
from tabario.clients.prefect import Lease, Run
from tabario.entitlements.entitlement import Entitlement
from tabario.errors import Forbidden, InProgress, InvalidInput, TabarioError
from tabario.jobs import Job, JobRequest, JobSpec, SceneWish

HEADER: Final = "Idempotency-Key"
KEPT_SECONDS: Final = 24 * 3600
RETRY_SECONDS: Final = 2
HELD_SECONDS: Final = 15.0
"""How long a key stays locked after its front door died."""
EXTEND_SECONDS: Final = HELD_SECONDS / 5


class KeyReused(InvalidInput):
    """The key came with another body before."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(HEADER, "You have used this key for another request. Choose a new one.")


class Attempt(BaseModel):
    """What was tried under a key. `started` is None until it is known to have succeeded.

    `lease_id` is the slot of a try whose outcome is unknown.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    job_id: UUID
    run_id: str
    lease_id: UUID | None = None
    started: RunIds | None = None


class Attempts:
    """Attempts in Redis, each kept for `KEPT_SECONDS` after its last change."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, user_id: str, key: str) -> Attempt | None:
        """What the user tried under the key, if anything."""
        stored = await self._redis.get(names.idempotency_key(user_id, key))
        return Attempt.model_validate_json(stored) if stored else None

    async def write(self, user_id: str, key: str, attempt: Attempt) -> None:
        """Notes an attempt."""
        await self._redis.set(names.idempotency_key(user_id, key), attempt.model_dump_json(), ex=KEPT_SECONDS)

    async def forget(self, user_id: str, key: str) -> None:
        """Makes the key as good as new."""
        await self._redis.delete(names.idempotency_key(user_id, key))

    @asynccontextmanager
    async def alone(self, user_id: str, key: str) -> AsyncIterator[None]:
        """The block is the only one that works under the key. Raises InProgress when another one does."""
        lock = self._redis.lock(names.idempotency_lock_key(user_id, key), timeout=HELD_SECONDS, blocking=False)
        if not await lock.acquire():
            raise InProgress("A request with this Idempotency-Key is being served.", retry_after=RETRY_SECONDS)
        extending = asyncio.create_task(_extend(lock), name="extend the lock of an Idempotency-Key")
        try:
            yield
        finally:
            extending.cancel()
            with suppress(LockError):  # it has expired, and may be another request's by now
                await lock.release()


@dataclass(frozen=True)
class _Order:
    """A job that is asked for. `asked` is the request as text, which must be the same under the same key."""

    user_id: str
    tier: Entitlement
    spec: JobSpec
    run_id: str | None
    asked: str
    remake: Remake | None = None

    def new_attempt(self) -> Attempt:
        fingerprint = hashlib.sha256(self.asked.encode()).hexdigest()
        return Attempt(fingerprint=fingerprint, job_id=uuid.uuid4(), run_id=self.run_id or uuid.uuid4().hex)

    def job(self, attempt: Attempt) -> Job:
        return Job(
            job_id=attempt.job_id,
            user_id=self.user_id,
            run_id=attempt.run_id,
            tier=self.tier.tier,
            accepted_at=datetime.now(UTC),
            spec=self.spec,
            changes=self.remake.changes(attempt.job_id) if self.remake else {},
            remakes=self.remake.job.job_id if self.remake else None,
        )


class Starts:
    """Starts jobs: each one asked for without a key, and one for all requests with the same key."""

    def __init__(self, submission: Submission, attempts: Attempts) -> None:
        self._submission = submission
        self._attempts = attempts

    async def start(self, user_id: str, tier: Entitlement, request: JobRequest, key: str | None) -> tuple[RunIds, bool]:
        """The started run, and whether that is an earlier request's.

        Raises what `Submission.submit` raises, Forbidden for a job in somebody else's name, KeyReused, and InProgress.
        """
        if request.user_id not in (None, user_id):
            raise Forbidden("user_id is not the user of the access token; leave it out.")
        asked = request.model_dump_json(exclude={"user_id"})
        order = _Order(user_id, tier, request.spec(), run_id=request.run_id, asked=asked)
        return await self._once(order, key)

    async def regenerate(
        self, tier: Entitlement, job: Job, scene: int, wish: SceneWish, key: str | None
    ) -> tuple[RunIds, bool]:
        """The same for a job that makes one scene of the user's job anew."""
        asked = f"{job.job_id}/{scene}/{wish.model_dump_json()}"
        order = _Order(job.user_id, tier, job.spec, run_id=wish.run_id, asked=asked, remake=Remake(job, scene, wish))
        return await self._once(order, key)

    async def _once(self, order: _Order, key: str | None) -> tuple[RunIds, bool]:
        attempt, unique, resize = order.new_attempt(), order.run_id is None, order.tier.certain
        if key is None:
            return _ids(await self._submission.submit(order.job(attempt), resize=resize, unique=unique)), False
        if started := _started(await self._attempts.read(order.user_id, key), attempt):
            return started, True
        async with self._attempts.alone(order.user_id, key):
            before = await self._attempts.read(order.user_id, key)
            if started := _started(before, attempt):
                return started, True
            if before is not None:
                return await self._try(key, order.job(before), before, resize=resize), False
            try:
                return await self._try(key, order.job(attempt), attempt, resize=resize, unique=unique), False
            except StartInDoubt:
                raise
            except TabarioError:
                await self._attempts.forget(order.user_id, key)  # certainly nothing was started: the key is not used up
                raise

    async def _try(self, key: str, job: Job, attempt: Attempt, *, resize: bool, unique: bool = False) -> RunIds:
        await self._attempts.write(job.user_id, key, attempt)
        claimed = Lease(attempt.lease_id, names.slot_limit(job.user_id)) if attempt.lease_id else None
        try:
            run = await self._submission.submit(job, resize=resize, unique=unique, claimed=claimed)
        except StartInDoubt as doubt:
            await self._attempts.write(job.user_id, key, attempt.model_copy(update={"lease_id": doubt.lease.id}))
            raise
        started = _ids(run)
        await self._attempts.write(job.user_id, key, attempt.model_copy(update={"started": started}))
        return started


async def _extend(lock: Lock) -> None:
    """Keeps the lock for as long as its holder lives."""
    with suppress(LockError):
        while True:
            await asyncio.sleep(EXTEND_SECONDS)
            await lock.reacquire()


def _started(before: Attempt | None, now: Attempt) -> RunIds | None:
    """What an earlier request started. Raises KeyReused when that was another request."""
    if before is None:
        return None
    if before.fingerprint != now.fingerprint:
        raise KeyReused
    return before.started


def _ids(run: Run) -> RunIds:
    return RunIds(run_id=run.job.run_id, flow_run_id=run.flow_run_id, workflow_id=run.name)
