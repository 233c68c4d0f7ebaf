"""What Redis holds and what the exporter shows, when Redis loses, forgets or stops answering."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from api.outcomes import Outcomes, count_acceptance
from monitoring.collectors.queue import QueueDepth
from monitoring.collectors.recorded import RecordedTotals
from monitoring.exporter import create_exporter
from monitoring.high_water import HighWaterFile
from tabario import names
from tabario.clients.prefect import Run, RunState
from tabario.metrics.definitions import JOB_TOTAL_SECONDS, JOBS_COMPLETED, JOBS_STARTED, REDIS_ERRORS
from tabario.metrics.ledger import EPOCH_FIELD, SINCE_FIELD, Event, MetricsLedger
from tabario.metrics.recorder import RedisRecorder
from tabario.metrics.series import Observation
from tabario.metrics.spool import Spool
from tabario.queue import JobQueue
from tabario.records import JobRecords
from tabario.settings import MetricsScope, MetricsSettings, PrefectSettings, RedisSettings, SlotSettings
from tabario.webhooks.outbox import Outbox
from tests.support.exposition import Exposition
from tests.support.faulty_redis import FaultyRedis, faulty_redis_running
from tests.support.jobs import new_job
from tests.support.runs import new_run
from tests.support.servers import free_port
from tests.support.waiting import eventually

STARTED = JOBS_STARTED.increment()
ROLLBACKS = "video_orchestrator_counter_rollbacks_total"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultyRedis]:
    with faulty_redis_running(tmp_path) as server:
        yield server


@pytest.fixture
async def client(server: FaultyRedis) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url, decode_responses=True, retry=Retry(NoBackoff(), 1)) as client:
        yield client


@pytest.fixture
def ledger(client: Redis) -> MetricsLedger:
    return MetricsLedger(client)


@pytest.fixture
def recorder(ledger: MetricsLedger, tmp_path: Path) -> RedisRecorder:
    return RedisRecorder(ledger, Spool(tmp_path / "spool"))


@pytest.fixture
def outcomes(client: Redis, recorder: RedisRecorder) -> Outcomes:
    """What the keeper tells of each ended run that Redis does not know as settled."""
    return Outcomes(queue=JobQueue(client), records=JobRecords(client), recorder=recorder)


def exporter_of(ledger: MetricsLedger, mark: Path) -> RecordedTotals:
    """The exporter's source of totals; a second one on the same file stands for its next process."""
    return RecordedTotals(ledger, HighWaterFile(mark))


async def shown(source: RecordedTotals) -> Exposition:
    return Exposition.of(await source.read())


async def started(source: RecordedTotals) -> float | None:
    return (await shown(source)).value("jobs_started_total")


async def add(ledger: MetricsLedger, number: int, observation: Observation = STARTED) -> None:
    await ledger.add([Event(uuid4().hex, observation.deltas) for _ in range(number)])


async def test_totals_are_shown_as_they_were_recorded(ledger: MetricsLedger, tmp_path: Path) -> None:
    await add(ledger, 5)
    await add(ledger, 2, JOB_TOTAL_SECONDS.observe(45))
    exposition = await shown(exporter_of(ledger, tmp_path / "mark"))
    assert exposition.value("jobs_started_total") == 5
    assert exposition.value("job_total_seconds_bucket", le="30.0") == 0
    assert exposition.value("job_total_seconds_bucket", le="60.0") == 2
    assert exposition.value("job_total_seconds_count") == 2
    assert exposition.value("job_total_seconds_sum") == 90
    assert exposition.value(ROLLBACKS) == 0


@pytest.mark.parametrize("is_same_process", [True, False])
async def test_an_older_file_starts_a_new_epoch_from_zero(
    server: FaultyRedis, ledger: MetricsLedger, tmp_path: Path, *, is_same_process: bool
) -> None:
    exporter = exporter_of(ledger, tmp_path / "mark")
    await add(ledger, 1000)
    older = server.back_up()
    await add(ledger, 35)
    assert await started(exporter) == 1035

    server.restore(older)
    after = exporter if is_same_process else exporter_of(ledger, tmp_path / "mark")
    restored = await shown(after)
    assert restored.value("jobs_started_total") == 0, "anything above 0 would be counted a second time"
    assert restored.value(ROLLBACKS) == 1

    await add(ledger, 3)
    assert await started(after) == 3

    server.restore(older)
    assert (await shown(after)).value(ROLLBACKS) == 2, "a second loss must be seen too"


async def test_two_exporters_begin_one_epoch_together(
    server: FaultyRedis, ledger: MetricsLedger, tmp_path: Path
) -> None:
    first, second = exporter_of(ledger, tmp_path / "one"), exporter_of(ledger, tmp_path / "two")
    await add(ledger, 10)
    older = server.back_up()
    await add(ledger, 11)
    assert [await started(first), await started(second)] == [21, 21]

    server.restore(older)
    assert await started(first) == 0
    await add(ledger, 4)
    assert [await started(second), await started(first)] == [4, 4]
    assert (await shown(second)).value(ROLLBACKS) == 1


async def test_a_flushed_redis_counts_from_zero_and_an_older_file_does_not_bring_the_past_back(
    server: FaultyRedis, ledger: MetricsLedger, tmp_path: Path
) -> None:
    exporter = exporter_of(ledger, tmp_path / "mark")
    await add(ledger, 100)
    older = server.back_up()
    assert await started(exporter) == 100

    async with Redis.from_url(server.url) as client:
        await client.flushall()
    assert await started(exporter) == 0
    await add(ledger, 2)
    assert await started(exporter) == 2

    server.restore(older)
    assert await started(exporter) == 0


async def test_errors_of_the_exporter_itself_count_as_redis_errors(
    server: FaultyRedis, ledger: MetricsLedger, tmp_path: Path
) -> None:
    exporter = exporter_of(ledger, tmp_path / "mark")
    await shown(exporter)
    server.kill()
    with pytest.raises(RedisError):
        await shown(exporter)
    server.start()
    assert (await shown(exporter)).value("redis_errors_total") == 1


async def test_errors_that_an_exporter_has_shown_are_shown_by_the_next_one_too(
    server: FaultyRedis, ledger: MetricsLedger, tmp_path: Path
) -> None:
    exporter = exporter_of(ledger, tmp_path / "mark")
    await add(ledger, 1000, REDIS_ERRORS.increment())
    server.kill()
    for _ in range(12):
        with pytest.raises(RedisError):
            await shown(exporter)
    server.start()
    seen = [await shown(source) for source in (exporter, exporter, exporter_of(ledger, tmp_path / "mark"))]
    assert [exposition.value("redis_errors_total") for exposition in seen] == [1012] * 3


async def test_errors_of_an_outage_that_lost_counts_belong_to_the_new_epoch(
    server: FaultyRedis, ledger: MetricsLedger, tmp_path: Path
) -> None:
    exporter = exporter_of(ledger, tmp_path / "mark")
    await add(ledger, 5)
    older = server.back_up()
    await add(ledger, 5)
    await shown(exporter)
    server.kill()
    with pytest.raises(RedisError):
        await shown(exporter)
    server.restore(older)
    seen = [await shown(exporter) for _ in range(2)]
    assert [exposition.value(ROLLBACKS) for exposition in seen] == [1, 1]
    assert [exposition.value("redis_errors_total") for exposition in seen] == [1, 1]


def run_of(*, accepted: timedelta, ended: timedelta) -> Run:
    """A completed run; its times are from now on."""
    now = datetime.now(UTC)
    job = new_job().model_copy(update={"accepted_at": now + accepted})
    return new_run(job, state=RunState.COMPLETED).model_copy(update={"ended_at": now + ended})


async def be_a_day_old(client: Redis) -> None:
    """Lets counting have begun yesterday."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await client.hset(names.METRICS_KEY, mapping={EPOCH_FIELD: uuid4().hex, SINCE_FIELD: yesterday.timestamp()})


async def jobs(source: RecordedTotals) -> tuple[float | None, float | None]:
    """Accepted and completed ones."""
    exposition = await shown(source)
    return exposition.value("jobs_enqueued_total"), exposition.value("jobs_completed_total")


@pytest.mark.parametrize("is_same_process", [True, False])
async def test_after_an_older_file_ends_that_are_told_of_again_do_not_count_and_those_of_the_outage_do(  # noqa: PLR0913 - fixtures
    server: FaultyRedis,
    client: Redis,
    recorder: RedisRecorder,
    outcomes: Outcomes,
    tmp_path: Path,
    *,
    is_same_process: bool,
) -> None:
    ledger = MetricsLedger(client)
    exporter = exporter_of(ledger, tmp_path / "mark")
    before = [run_of(accepted=timedelta(hours=-4), ended=timedelta(hours=-3)) for _ in range(10)]
    since = [run_of(accepted=timedelta(minutes=-90), ended=timedelta(minutes=-60)) for _ in range(35)]
    in_work = run_of(accepted=timedelta(minutes=-5), ended=timedelta(seconds=30))
    await be_a_day_old(client)
    for run in before:
        await outcomes.note(run)
    older = server.back_up()
    for run in since:
        await outcomes.note(run)
    await count_acceptance(recorder.record, in_work.job)
    assert await jobs(exporter) == (46, 45)

    server.restore(older)
    after = exporter if is_same_process else exporter_of(ledger, tmp_path / "mark")
    assert await jobs(after) == (0, 0)
    for run in since:
        await outcomes.note(run)
    assert await jobs(after) == (0, 0), "Prometheus would add what it has counted before"
    await outcomes.note(in_work)
    assert await jobs(after) == (0, 1)


async def test_a_new_epoch_counts_what_happened_after_the_lost_totals_were_read_and_nothing_older(
    client: Redis, ledger: MetricsLedger, tmp_path: Path
) -> None:
    await be_a_day_old(client)
    lost = await ledger.read()
    assert lost.epoch is not None
    await ledger.begin_epoch(instead_of=lost.epoch, lost=replace(lost, read_at=lost.read_at - 600))
    await ledger.add([Event(f"{ago} s ago", STARTED.deltas, lost.read_at - ago) for ago in (700, 601, 599, 300, 0)])
    assert await started(exporter_of(ledger, tmp_path / "mark")) == 2, "near the loss rather too little is counted"


async def test_after_a_flush_neither_ended_jobs_nor_those_in_work_are_counted_as_new(
    client: Redis, ledger: MetricsLedger, outcomes: Outcomes, tmp_path: Path
) -> None:
    exporter = exporter_of(ledger, tmp_path / "mark")
    over = run_of(accepted=timedelta(minutes=-9), ended=timedelta(minutes=-2))
    await be_a_day_old(client)
    await outcomes.note(over)
    assert await jobs(exporter) == (1, 1)
    await client.flushall()
    await outcomes.note(over)
    assert await jobs(exporter) == (0, 0)
    await outcomes.note(run_of(accepted=timedelta(minutes=-9), ended=timedelta()))
    assert await jobs(exporter) == (0, 1)


async def test_the_first_jobs_of_an_installation_count_whatever_their_hosts_clocks_say(
    ledger: MetricsLedger, recorder: RedisRecorder, outcomes: Outcomes, tmp_path: Path
) -> None:
    exporter = exporter_of(ledger, tmp_path / "mark")
    await outcomes.note(run_of(accepted=timedelta(seconds=-3), ended=timedelta(seconds=-2)))
    assert await jobs(exporter) == (1, 1)
    slowly_accepted = run_of(accepted=timedelta(minutes=-2), ended=timedelta(seconds=-1))
    await count_acceptance(recorder.record, slowly_accepted.job)
    await outcomes.note(slowly_accepted)
    assert await jobs(exporter) == (2, 2)


async def test_queue_depth_is_the_length_of_the_list(redis: Redis) -> None:
    source = QueueDepth(JobQueue(redis), Outbox(redis))
    assert Exposition.of(await source.read()).value("queue_depth") == 0
    await redis.lpush("video_orchestrator:queue", "a", "b", "c")
    assert Exposition.of(await source.read()).value("queue_depth") == 3


async def test_with_every_server_down_the_exposition_is_valid_and_says_so(
    server: FaultyRedis, ledger: MetricsLedger, tmp_path: Path
) -> None:
    await add(ledger, 7, JOBS_COMPLETED.increment())
    exporter = create_exporter(
        redis=RedisSettings.model_validate({"url": server.url}),
        prefect=PrefectSettings(url=f"http://127.0.0.1:{free_port()}/api"),
        slots=SlotSettings(),
        metrics=MetricsSettings.model_validate({"directory": tmp_path / "metrics", "poll_seconds": 1}),
        scope=MetricsScope.ALL,
    )

    async def sources_are(**expected: bool) -> bool:
        return exporter.sources_up() == expected

    prefect_down = {"runs": False, "workers": False, "slots": False}
    async with exporter:
        await eventually(
            partial(sources_are, recorded=True, queue=True, **prefect_down), within=10, what="Redis is seen"
        )
        before = Exposition.of(exporter.collect())
        server.kill()
        await eventually(
            partial(sources_are, recorded=False, queue=False, **prefect_down), within=10, what="Redis is missed"
        )
        during = Exposition.of(exporter.collect())
        server.start()
        await eventually(
            partial(sources_are, recorded=True, queue=True, **prefect_down), within=10, what="Redis is seen again"
        )
        after = Exposition.of(exporter.collect())

    assert [seen.value("jobs_completed_total") for seen in (before, during, after)] == [7, 7, 7]
    assert [seen.value("queue_depth") for seen in (before, during, after)] == [0, None, 0]
    assert during.value("worker_active") is None
    up = "video_orchestrator_exporter_source_up"
    assert [during.value(up, source=source) for source in ("recorded", "queue", "runs", "workers", "slots")] == [0] * 5
