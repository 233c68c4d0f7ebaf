"""What is counted of the keeper's passes."""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis

from api.passes import Passes
from tabario.metrics.ledger import MetricsLedger
from tabario.metrics.recorder import RedisRecorder
from tabario.metrics.spool import Spool
from tabario.queue import JobQueue
from tabario.queue_audit import QueueAudit
from tabario.slots.keeper import PassReport

QUIET = PassReport(
    live=0, renewed=0, lost=0, settled=0, unsettled=0, resumed=0, declared_dead=0, freed=0, counted=0, reclaimed=0,
    cancelled=0, overdue=False,
)  # fmt: skip


async def test_each_pass_adds_what_it_did_and_a_quiet_one_nothing(redis: Redis, tmp_path: Path) -> None:
    ledger = MetricsLedger(redis)
    recorder = RedisRecorder(ledger, Spool(tmp_path))
    passes = Passes(QueueAudit(JobQueue(redis), recorder), recorder)
    busy = PassReport(
        live=3, renewed=2, lost=1, settled=4, unsettled=0, resumed=1, declared_dead=1, freed=2, counted=0, reclaimed=1,
        cancelled=0, overdue=False,
    )  # fmt: skip

    for report in (busy, QUIET, busy):
        await passes.note(report, [])

    assert (await ledger.read()).values == {
        '["video_orchestrator_lease_renewals_total",{}]': 4,
        '["video_orchestrator_lease_expiries_total",{}]': 2,
        '["video_orchestrator_processes_lost_total",{}]': 2,
        '["video_orchestrator_slots_mended_total",{"kind":"freed"}]': 4,
        '["video_orchestrator_slots_mended_total",{"kind":"reclaimed"}]': 2,
    }


async def test_quiet_passes_leave_no_trace(redis: Redis, tmp_path: Path) -> None:
    ledger = MetricsLedger(redis)
    recorder = RedisRecorder(ledger, Spool(tmp_path))
    await Passes(QueueAudit(JobQueue(redis), recorder), recorder).note(QUIET, [])
    assert await redis.dbsize() == 0
