"""The recorder on a real Redis: exactly once, never slow, never an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.metrics.definitions import IMAGES_GENERATED, JOB_TOTAL_SECONDS, JOBS_COMPLETED, JOBS_STARTED
from tabario.metrics.ledger import MetricsLedger
from tabario.metrics.recorder import CALL_SECONDS, Recorder, open_recorder
from tests.support.faulty_redis import FaultyRedis, faulty_redis_running
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

STARTED, COMPLETED, IMAGE = (
    JOBS_STARTED.increment(),
    JOBS_COMPLETED.increment(),
    IMAGES_GENERATED.increment(workflow="text2image"),
)
SLACK_SECONDS = 1.0  # of a busy machine; fifty calls one after another would take twelve seconds


@pytest.fixture
def url(redis: Redis, redis_server: RedisServer) -> str:  # noqa: ARG001 - `redis` empties the database
    return f"{redis_server.url[:-1]}5"


@asynccontextmanager
async def recording(url: str, spool: Path) -> AsyncIterator[Recorder]:
    async with open_recorder(url, enabled=True, spool_directory=spool) as recorder:
        yield recorder


async def totals(url: str) -> dict[str, float]:
    async with Redis.from_url(url, decode_responses=True) as client:
        return (await MetricsLedger(client).read()).values


async def count(url: str, observation_field: str) -> float:
    return (await totals(url)).get(observation_field, 0)


def field(observation: object) -> str:
    deltas: tuple[tuple[str, float], ...] = observation.deltas  # type: ignore[attr-defined]  # any observation
    return deltas[0][0]


async def timed(recorder: Recorder, event_id: str) -> float:
    began = time.monotonic()
    await recorder.record(event_id, STARTED)
    return time.monotonic() - began


async def is_gone(path: Path) -> bool:
    return not path.exists()  # noqa: ASYNC240 - one look at a local file


async def counts(url: str, expected: float) -> bool:
    return await count(url, field(STARTED)) == expected


async def test_an_event_counts_all_its_observations(url: str, tmp_path: Path) -> None:
    async with recording(url, tmp_path) as recorder:
        await recorder.record("job:ended", COMPLETED, JOB_TOTAL_SECONDS.observe(41.5))
    assert await totals(url) == {
        '["jobs_completed_total",{}]': 1,
        '["job_total_seconds_bucket",{"le":"60.0"}]': 1,
        '["job_total_seconds_sum",{}]': 41.5,
    }


async def test_an_event_reported_by_many_processes_counts_once(url: str, tmp_path: Path) -> None:
    async with recording(url, tmp_path) as one, recording(url, tmp_path) as other:
        await asyncio.gather(*(recorder.record("job:ended", COMPLETED) for recorder in (one, other) * 20))
    assert await count(url, field(COMPLETED)) == 1


async def test_concurrent_recorders_lose_nothing(url: str, tmp_path: Path) -> None:
    async with recording(url, tmp_path) as one, recording(url, tmp_path) as other:
        await asyncio.gather(
            *(recorder.record(f"{n}:{k}", IMAGE) for k, recorder in enumerate((one, other)) for n in range(300))
        )
    assert await count(url, field(IMAGE)) == 600


async def test_only_the_totals_live_for_ever(url: str, redis: Redis, tmp_path: Path) -> None:
    async with recording(url, tmp_path) as recorder:
        await recorder.record("job:started", STARTED)
    lives = {key: await redis.ttl(key) for key in await redis.keys("*")}
    assert lives.pop(names.METRICS_KEY) == -1
    assert lives.keys() == {names.metrics_event_key("job:started")}
    assert all(0 < seconds <= 24 * 3600 for seconds in lives.values())


async def test_switched_off_it_records_nothing(url: str, redis: Redis, tmp_path: Path) -> None:
    async with open_recorder(url, enabled=False, spool_directory=tmp_path) as recorder:
        await recorder.record("job:started", STARTED)
    assert await redis.dbsize() == 0


async def test_a_hung_redis_slows_one_call_only_and_the_total_is_exact_afterwards(tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        async with recording(server.url, tmp_path) as recorder:
            await recorder.record("before", STARTED)
            server.hang()
            seconds = [await timed(recorder, f"during-{number}") for number in range(2000)]
            server.go_on()
            await eventually(partial(counts, server.url, 2001), within=15, what="the kept events are counted")
        assert seconds[0] < CALL_SECONDS + SLACK_SECONDS
        assert sum(seconds[1:]) < 100 * CALL_SECONDS  # of 1999 calls nobody, or hardly anybody, has waited
        assert await count(server.url, '["redis_errors_total",{}]') >= 1


async def test_callers_that_wait_for_a_hung_redis_are_let_go_together(tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        async with recording(server.url, tmp_path) as recorder:
            await recorder.record("before", STARTED)
            server.hang()
            seconds = await asyncio.gather(*(timed(recorder, f"during-{number}") for number in range(50)))
            server.go_on()
        assert max(seconds) < CALL_SECONDS + SLACK_SECONDS
        assert await count(server.url, field(STARTED)) == 51


async def test_a_killed_and_restarted_redis_ends_with_the_exact_total(tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        async with recording(server.url, tmp_path) as recorder:
            seconds = [await timed(recorder, f"before-{number}") for number in range(20)]
            server.kill()
            seconds += [await timed(recorder, f"during-{number}") for number in range(20)]
            server.start()
            await recorder.record("during-3", STARTED)
            await eventually(partial(counts, server.url, 40), within=15, what="the kept events are counted")
            await recorder.record("after", STARTED)
        assert max(seconds) < CALL_SECONDS + SLACK_SECONDS
        assert await count(server.url, field(STARTED)) == 41


async def test_what_is_left_at_the_end_is_sent_when_redis_is_back_in_time(tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        async with recording(server.url, tmp_path / "spool") as recorder:
            server.kill()
            await recorder.record("a", STARTED)
            server.start()
        assert await count(server.url, field(STARTED)) == 1
        assert not (tmp_path / "spool").exists()


async def test_what_cannot_be_sent_at_the_end_is_sent_by_the_next_process(tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        server.kill()
        began = await record_three_and_close(server, tmp_path)
        assert time.monotonic() - began < 2 + CALL_SECONDS + SLACK_SECONDS
        assert len(list((tmp_path / "spool").iterdir())) == 1
        server.start()
        async with recording(server.url, tmp_path / "spool"):
            await eventually(partial(counts, server.url, 3), within=5, what="the spooled events are counted")
        assert list((tmp_path / "spool").iterdir()) == []


async def record_three_and_close(server: FaultyRedis, tmp_path: Path) -> float:
    """Returns the time at which closing began."""
    async with recording(server.url, tmp_path / "spool") as recorder:
        for number in range(3):
            await recorder.record(f"event-{number}", STARTED)
        return time.monotonic()


async def test_a_spool_that_was_sent_but_not_removed_counts_once(tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        server.kill()
        await record_three_and_close(server, tmp_path)
        (spooled,) = (tmp_path / "spool").iterdir()
        content = spooled.read_bytes()
        server.start()
        for _ in range(2):
            spooled.write_bytes(content)
            async with recording(server.url, tmp_path / "spool") as recorder:
                await recorder.record("event-0", STARTED)
                await eventually(partial(is_gone, spooled), within=5, what="the spool is sent")
        assert await count(server.url, field(STARTED)) == 3


async def test_an_event_whose_caller_was_cancelled_is_counted(tmp_path: Path) -> None:
    with faulty_redis_running(tmp_path) as server:
        async with recording(server.url, tmp_path) as recorder:
            await recorder.record("before", STARTED)
            server.hang()
            caller = asyncio.create_task(recorder.record("cancelled", STARTED))
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait([caller])
            assert caller.cancelled()
            server.go_on()
        assert await count(server.url, field(STARTED)) == 2
