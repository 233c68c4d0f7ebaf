"""The keeper of the slots: renews the leases of runs that live, and settles those that ended.

One keeper leads among the replicas of the front door. Events tell it of an ended run at once; a sweep every few
seconds makes sure.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.clients.prefect.models import Run
from tabario.clients.prefect.runs import PrefectApi
from tabario.errors import RetryLater
from tabario.settings import SlotSettings
from tabario.slots.audit import Audit, Mended
from tabario.slots.claims import Claimant, Claims
from tabario.slots.clock import Clock, utc_now
from tabario.slots.endings import EndedHook, Endings
from tabario.slots.fairness import Fairness
from tabario.slots.gate import Gate
from tabario.slots.leader import Leader
from tabario.slots.liveness import Liveness, Verdict
from tabario.slots.release import Releaser
from tabario.slots.renewals import Renewals
from tabario.slots.resume import Resumer

OVERLAP: Final = timedelta(seconds=120)  # runs that ended so long before the last pass are looked at again
PASS_SECONDS: Final = 7 * 24 * 3600
FOLLOWER_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass saw and did, in runs; `freed` and `counted` are slots whose count was wrong.

    `overdue` says that a standard run has waited too long, so that the queues are served by age.
    """

    live: int
    renewed: int
    lost: int
    settled: int
    unsettled: int
    resumed: int
    declared_dead: int
    freed: int
    counted: int
    reclaimed: int
    cancelled: int
    overdue: bool


class Keeper:
    """Keeps every slot honest. `run` it as a task of each replica.

    `hints` yields ids of flow runs that ended. Each of `on_ended` is called once for a job, after its slot was freed;
    a hook that fails is called again. `on_pass` is told of each good pass and of all live runs. `redis` decodes
    its answers.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        prefect: PrefectApi,
        redis: Redis,
        settings: SlotSettings,
        *,
        hints: Callable[[], AsyncIterator[UUID]],
        on_ended: Sequence[EndedHook] = (),
        on_pass: Callable[[PassReport, Sequence[Run]], Awaitable[None]] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._prefect = prefect
        self._redis = redis
        self._settings = settings
        self._hints = hints
        self._on_pass = on_pass
        self._clock = clock
        bookkeeping = anyio.Lock()
        self._leader = Leader(redis)
        self._gate = Gate(redis, seconds=settings.gate)
        self._claims = Claims(redis, clock=clock)
        releaser = Releaser(redis, prefect.leases, self._claims)
        self._endings = Endings(redis, releaser, on_ended, bookkeeping=bookkeeping)
        self._resumer = Resumer(prefect, redis, resumes=settings.resumes, clock=clock)
        self._renewals = Renewals(prefect.leases, settings, clock=clock)
        self._swept: str | None = None
        self._liveness = Liveness(redis, settings, clock=clock)
        self._fairness = Fairness(prefect.queues, self._leader, settings, clock=clock)
        claimant = Claimant(self._claims, prefect.leases)
        self._audit = Audit(
            prefect, self._claims, claimant, self._leader, settings, bookkeeping=bookkeeping, clock=clock
        )

    async def run(self) -> None:
        """Keeps the slots until cancelled; then lets another replica take over at once."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._bid)
                group.start_soon(self._listen)
                group.start_soon(self._sweep_on)
        finally:
            with anyio.move_on_after(2, shield=True):
                await self._leader.step_down()

    async def lead(self) -> bool:
        """Bids for the lead, or keeps it; says whether this keeper leads. Raises RedisError."""
        try:
            return await self._leader.hold()
        except RedisError:
            self._liveness.pause()
            raise

    async def _bid(self) -> None:
        while True:
            try:
                await self.lead()
            except RedisError as error:
                log.warning("Redis does not answer the keeper (%s).", type(error).__name__)
            await anyio.sleep(self._leader.seconds / 3)

    async def _sweep_on(self) -> None:
        while True:
            if not self._leader.is_leading:
                self._renewals.forget()
                self._liveness.pause()
                await anyio.sleep(min(FOLLOWER_SECONDS, self._settings.sweep))
                continue
            await self.sweep_or_log()
            await anyio.sleep(self._settings.sweep)

    async def sweep_or_log(self) -> bool:
        """One pass; says False when it failed, for the keeper must outlive every fault."""
        try:
            await self.sweep()
        except Exception as error:  # the edge of a background task: without its passes every slot would leak
            log.exception("A pass of the keeper failed; the next one tries again.")
            self._renewals.forget()
            if isinstance(error, RedisError):
                self._liveness.pause()
            return False
        return True

    async def _listen(self) -> None:
        async for flow_run_id in self._hints():
            if self._leader.is_leading:
                try:
                    await self.look_at(flow_run_id)
                except Exception:  # a hint is only a hint: the sweep will see the run
                    log.exception("An ended run could not be settled at once; the sweep tries again.")

    async def look_at(self, flow_run_id: UUID) -> None:
        """Settles a run if it has ended for good."""
        run = await self._prefect.read_run(flow_run_id)
        if run is not None and run.state.terminal and not await self._resumer.may_resume(run):
            await self._endings.settle(run)

    async def sweep(self) -> PassReport:
        """One pass over all runs. Raises NotLeading, and RetryLater or RedisError when it could not renew leases."""
        began = self._clock()
        live, dead = await self._watch()
        resumable, over = await self._ended()
        declared_dead = await self._declare(dead)
        renewed = await self._renewals.renew([*live, *resumable])
        if not renewed.lost:
            await self._open_gate(began)
        await self._claims.strike_seen((run.limit, str(run.lease_id)) for run in live)

        unsettled = [run for run in over if not await self._try("settled", self._endings.settle, run)]
        resumed = [run for run in resumable if await self._try("resumed", self._resumer.resume, run)]
        mended = await self._mend(live, renewed.lost, [*resumable, *unsettled])
        if renewed.lost:  # and not before: after an outage the slots of those runs might have been sold again
            await self._open_gate(began)
        overdue = await self._order_queues()
        if not unsettled:
            self._swept = str(began.timestamp())
            await self._redis.set(names.KEEPER_SWEPT_KEY, self._swept, ex=PASS_SECONDS)
        report = PassReport(
            live=len(live),
            renewed=renewed.count,
            lost=len(renewed.lost),
            settled=len(over) - len(unsettled),
            unsettled=len(unsettled),
            resumed=len(resumed),
            declared_dead=declared_dead,
            freed=sum(one.freed for one in mended),
            counted=sum(one.counted for one in mended),
            reclaimed=sum(one.reclaimed for one in mended),
            cancelled=sum(one.cancelled for one in mended),
            overdue=overdue,
        )
        if self._on_pass is not None:
            await self._on_pass(report, live)
        return report

    async def _watch(self) -> tuple[list[Run], list[Verdict]]:
        """The live runs, and which of them are dead."""
        await self._leader.confirm()
        try:
            live = await self._prefect.live_runs()
        except RetryLater:
            self._liveness.note_outage()
            raise
        return live, await self._liveness.look(live)

    async def _open_gate(self, began: datetime) -> None:
        await self._gate.open(since=(self._clock() - began).total_seconds())

    async def _ended(self) -> tuple[list[Run], list[Run]]:
        """The ended runs that are not settled: those to be resumed, which keep their slots, and those that are over."""
        recent = await self._prefect.ended_runs(await self._since())
        ended = [run for run in recent if not await self._endings.is_settled(run)]
        resumable = [run for run in ended if await self._resumer.may_resume(run)]
        return resumable, [run for run in ended if run not in resumable]

    async def _since(self) -> datetime:
        """From when on ended runs are looked at: a little before the last good pass."""
        last = await self._redis.get(names.KEEPER_SWEPT_KEY)
        if last != self._swept:  # a Redis that forgot this, or went back in time, may have lost leases too
            self._renewals.forget()
        if last is None:  # a new or emptied Redis: older leases have run out by themselves
            return self._clock() - timedelta(seconds=self._settings.run_lease)
        return datetime.fromtimestamp(float(last), UTC) - OVERLAP

    async def _try(self, deed: str, act: Callable[[Run], Awaitable[bool]], run: Run) -> bool:
        """Acts on one run; a failure must not keep the others waiting."""
        try:
            await self._leader.confirm()
            return await act(run)
        except Exception:  # whatever fails here is one run's matter, and is tried again by the next pass
            log.exception("%s could not be %s.", run.flow_run_id, deed)
            return False

    async def _declare(self, dead: Sequence[Verdict]) -> int:
        verdicts = {verdict.run.flow_run_id: verdict for verdict in dead}

        async def end(run: Run) -> bool:
            verdict = verdicts[run.flow_run_id]
            if not await self._liveness.confirm(verdict):
                return False
            log.warning("%s is declared %s: %s", run.flow_run_id, verdict.state, verdict.reason)
            return await self._prefect.end_run(run, verdict.state, verdict.reason)

        ended = [await self._try("declared dead", end, verdict.run) for verdict in dead]
        return sum(ended)

    async def _order_queues(self) -> bool:
        try:
            return await self._fairness.order_queues()
        except Exception:  # the order of the queues must not spoil a pass over the slots; the next one tries again
            log.exception("The work queues could not be put in order.")
            return False

    async def _mend(self, live: Sequence[Run], lost: Sequence[Run], unsettled: Sequence[Run]) -> list[Mended]:
        """Repairs counts. What lived when the pass began may have ended since, and is then still to be released."""
        held: dict[str, frozenset[UUID]] = {}
        for run in (*live, *unsettled):
            held[run.limit] = held.get(run.limit, frozenset()) | {run.lease_id}
        suspects = await self._audit.suspects(held) | {run.limit for run in lost}
        mended = {limit: await self._mend_one(limit, held.get(limit, frozenset())) for limit in sorted(suspects)}
        await self._claims.strike_overdue(limit for limit, outcome in mended.items() if outcome is not None)
        return [outcome for outcome in mended.values() if outcome is not None]

    async def _mend_one(self, limit: str, held: frozenset[UUID]) -> Mended | None:
        """What a repair did; None when Prefect did not answer, which must not keep other users waiting."""
        try:
            return await self._audit.mend(limit, held)
        except RetryLater:
            log.exception("The count of %s could not be checked; the next pass tries again.", names.user_hash(limit))
            return None
