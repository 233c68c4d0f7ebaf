"""Completion webhooks from the outbox to an app's server, on a real Redis and real sockets."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import Run, RunState
from tabario.errors import ConfigurationError, NotFound
from tabario.metrics.definitions import WEBHOOK_ATTEMPTS, WEBHOOK_DELIVERY_SECONDS
from tabario.metrics.ledger import MetricsLedger
from tabario.metrics.recorder import RedisRecorder
from tabario.metrics.spool import Spool
from tabario.records import Film, JobFailure, JobRecord, JobRecords, Stage
from tabario.settings import Environment, WebhookSettings
from tabario.webhooks.announcements import Announcements
from tabario.webhooks.courier import Courier
from tabario.webhooks.endpoint import endpoint_of
from tabario.webhooks.messages import Delivery, EventName, Message
from tabario.webhooks.outbox import ATTEMPT_SECONDS, Outbox
from tabario.webhooks.schedule import DELAYS
from tests.support.orchestrator import SettableClock, make_job, new_user
from tests.support.receivers import Receiver, receiving
from tests.support.servers import free_port
from tests.support.waiting import eventually

SECRET = f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"


@pytest.fixture
def app() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def outbox(redis: Redis) -> Outbox:
    return Outbox(redis)


@pytest.fixture
def ledger(redis: Redis) -> MetricsLedger:
    return MetricsLedger(redis)


def settings(url: str, **changes: object) -> WebhookSettings:
    return WebhookSettings.model_validate({"url": url, "secret": SECRET, "timeout": 5, **changes})


def courier_to(url: str, redis: Redis, clock: SettableClock, directory: Path) -> Courier:
    endpoint = endpoint_of(settings(url), Environment.DEVELOPMENT)
    assert endpoint is not None
    recorder = RedisRecorder(MetricsLedger(redis), Spool(directory))
    return Courier(redis, endpoint, recorder, clock=clock, look=0.05)


@pytest.fixture
async def courier(app: Receiver, redis: Redis, clock: SettableClock, tmp_path: Path) -> Courier:
    """A courier that is the one at work, and delivers when it is told to."""
    courier = courier_to(app.url, redis, clock, tmp_path)
    assert await courier.lead()
    return courier


def message(clock: SettableClock, **changes: object) -> Message:
    fields = {
        "id": f"msg_{uuid4().hex}",
        "event": EventName.JOB_COMPLETED,
        "run_id": "lisbon",
        "body": '{"event": "job_completed", "data": {"caption": "Straßenbahn \\u2013 🚋"}}',
        "created_at": clock(),
    }
    return Message.model_validate({**fields, **changes})


async def test_a_webhook_arrives_signed_and_is_put_on_record(
    app: Receiver, outbox: Outbox, courier: Courier, clock: SettableClock, ledger: MetricsLedger
) -> None:
    sent = message(clock)
    await outbox.put(sent)
    await courier.deliver_due()

    [request] = app.requests
    assert request.verified(SECRET) == json.loads(sent.body)
    assert request.headers["webhook-id"] == sent.id
    assert request.headers["content-type"] == "application/json"
    kept = await outbox.find(sent.id)
    assert kept.delivery is Delivery.DELIVERED
    assert [attempt.status for attempt in kept.attempts] == [204]
    assert await outbox.pending() == 0
    assert await counted(ledger, "delivered") == 1
    [(bucket, _), _] = WEBHOOK_DELIVERY_SECONDS.observe(0).deltas
    assert (await ledger.read()).values[bucket] == 1


async def counted(ledger: MetricsLedger, outcome: str) -> float:
    [(field, _)] = WEBHOOK_ATTEMPTS.increment(outcome=outcome).deltas
    return (await ledger.read()).values.get(field, 0)


async def test_what_does_not_arrive_is_tried_again_later_under_the_same_id(
    app: Receiver, outbox: Outbox, courier: Courier, clock: SettableClock
) -> None:
    app.answer(500)
    app.answer(503)
    sent = message(clock)
    await outbox.put(sent)

    await courier.deliver_due()
    assert await courier.deliver_due() == 0
    clock.advance(DELAYS[0] - 1)
    assert await courier.deliver_due() == 0
    clock.advance(DELAYS[0])
    assert await courier.deliver_due() == 1
    clock.advance(DELAYS[1] * 1.3)
    assert await courier.deliver_due() == 1

    assert [request.headers["webhook-id"] for request in app.requests] == [sent.id] * 3
    assert len({request.body for request in app.requests}) == 1
    kept = await outbox.find(sent.id)
    assert [attempt.status for attempt in kept.attempts] == [500, 503, 204]
    assert kept.delivery is Delivery.DELIVERED


async def test_an_app_that_is_down_for_good_is_given_up_after_the_last_try(
    redis: Redis, outbox: Outbox, clock: SettableClock, tmp_path: Path, ledger: MetricsLedger
) -> None:
    courier = courier_to(f"http://127.0.0.1:{free_port()}/", redis, clock, tmp_path)
    await courier.lead()
    sent = message(clock)
    await outbox.put(sent)

    tries = 0
    while tried := await courier.deliver_due():
        tries += tried
        clock.advance(24 * 3600)
    kept = await outbox.find(sent.id)

    assert tries == len(DELAYS) + 1
    assert kept.delivery is Delivery.GIVEN_UP
    assert {attempt.problem for attempt in kept.attempts} == {"The host does not answer."}
    assert (await counted(ledger, "retried"), await counted(ledger, "given_up")) == (len(DELAYS), 1)


async def test_a_host_that_says_gone_is_not_asked_again(app: Receiver, outbox: Outbox, courier: Courier) -> None:
    app.answer(410)
    sent = message(SettableClock())
    await outbox.put(sent)
    await courier.deliver_due()
    assert (await outbox.find(sent.id)).delivery is Delivery.GIVEN_UP
    assert await outbox.pending() == 0


async def test_a_host_may_ask_for_time(app: Receiver, outbox: Outbox, courier: Courier, clock: SettableClock) -> None:
    app.answer(429, Retry_After="600")
    await outbox.put(message(clock))
    await courier.deliver_due()
    clock.advance(590)
    assert await courier.deliver_due() == 0
    clock.advance(200)
    assert await courier.deliver_due() == 1


async def test_a_replay_sends_the_same_webhook_with_new_tries(
    app: Receiver, outbox: Outbox, courier: Courier, clock: SettableClock, ledger: MetricsLedger
) -> None:
    app.answer(410)
    sent = message(clock)
    await outbox.put(sent)
    await courier.deliver_due()

    clock.advance(3 * 24 * 3600)
    assert (await outbox.replay(sent.id, clock())).delivery is Delivery.PENDING
    await courier.deliver_due()

    assert app.requests[0].body == app.requests[1].body
    assert app.requests[0].headers["webhook-id"] == app.requests[1].headers["webhook-id"]
    kept = await outbox.find(sent.id)
    assert (kept.delivery, kept.tries, len(kept.attempts)) == (Delivery.DELIVERED, 1, 2)
    [(bucket, _), _] = WEBHOOK_DELIVERY_SECONDS.observe(3 * 24 * 3600).deltas
    assert bucket not in (await ledger.read()).values
    with pytest.raises(NotFound):
        await outbox.replay("msg_none", clock())


async def test_a_slow_app_does_not_keep_the_other_webhooks_waiting(
    app: Receiver, outbox: Outbox, courier: Courier, clock: SettableClock
) -> None:
    app.release.clear()
    for _ in range(3):
        await outbox.put(message(clock))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(courier.deliver_due)

        async def all_are_on_their_way() -> bool:
            return len(app.requests) == 3

        await eventually(all_are_on_their_way, within=5, what="three webhooks are on their way at once")
        app.release.set()


async def test_an_attempt_whose_courier_died_comes_back(
    app: Receiver, outbox: Outbox, courier: Courier, clock: SettableClock
) -> None:
    await outbox.put(message(clock))
    await outbox.take_due(clock(), limit=8)  # and nothing more is heard of it
    assert await courier.deliver_due() == 0
    clock.advance(ATTEMPT_SECONDS + 1)
    assert await courier.deliver_due() == 1
    assert app.events == ["job_completed"]


@pytest.fixture
async def two_couriers(
    app: Receiver, redis: Redis, clock: SettableClock, tmp_path: Path
) -> AsyncIterator[list[Courier]]:
    """Two couriers at work in turn, as in two replicas of the front door."""
    couriers = [courier_to(app.url, redis, clock, tmp_path) for _ in range(2)]
    async with anyio.create_task_group() as tasks:
        for courier in couriers:
            tasks.start_soon(courier.run)
        yield couriers
        tasks.cancel_scope.cancel()


async def test_of_two_couriers_one_delivers_each_webhook_once(
    app: Receiver, outbox: Outbox, two_couriers: list[Courier], clock: SettableClock
) -> None:
    for _ in range(40):
        await outbox.put(message(clock))

    async def everything_arrived() -> bool:
        return await outbox.pending() == 0

    await eventually(everything_arrived, within=20, what="all webhooks have arrived")
    assert sorted([await courier.lead() for courier in two_couriers]) == [False, True]
    assert len({request.headers["webhook-id"] for request in app.requests}) == len(app.requests) == 40


async def test_a_courier_that_lost_its_duty_delivers_nothing(
    app: Receiver, redis: Redis, courier: Courier, clock: SettableClock, tmp_path: Path
) -> None:
    await Outbox(redis).put(message(clock))
    await redis.delete(names.COURIER_LOCK_KEY)
    other = courier_to(app.url, redis, clock, tmp_path)
    assert await other.lead()

    assert await courier.deliver_due() == 0
    assert await other.deliver_due() == 1
    assert len(app.requests) == 1


async def test_a_courier_that_stops_hands_over_at_once(
    app: Receiver, redis: Redis, clock: SettableClock, tmp_path: Path
) -> None:
    first, second = (courier_to(app.url, redis, clock, tmp_path) for _ in range(2))

    async def first_is_at_work() -> bool:
        return await redis.exists(names.COURIER_LOCK_KEY) == 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.run)
        await eventually(first_is_at_work, within=5, what="the first courier is at work")
        assert not await second.lead()
        tasks.cancel_scope.cancel()
    assert await second.lead()


async def test_everything_in_redis_ends_by_itself_and_holds_no_secret(
    app: Receiver, redis: Redis, outbox: Outbox, courier: Courier, clock: SettableClock
) -> None:
    app.answer(500)
    await outbox.put(message(clock))
    await outbox.put(message(clock))
    await courier.deliver_due()

    keys = [key for key in await redis.keys("video_orchestrator:*") if key != names.METRICS_KEY]
    assert min([await redis.ttl(key) for key in keys]) > 0
    texts = [str(await redis.get(key)) for key in keys if await redis.type(key) == "string"]
    assert texts
    assert not any(SECRET in text or app.url in text or "k3y" in text for text in texts)


def ended(state: RunState) -> Run:
    clock = SettableClock()
    job = make_job(new_user(), run_id="lisbon")
    return Run(
        flow_run_id=uuid4(),
        name=names.workflow_id(job.user_id, job.run_id),
        job=job,
        state=state,
        state_id=uuid4(),
        state_since=clock(),
        message="",
        created_at=clock(),
        started_at=clock(),
        ended_at=clock(),
        lease_id=uuid4(),
        run_count=1,
    )


async def announced(run: Run, record: JobRecord, redis: Redis) -> list[Message]:
    records, outbox = JobRecords(redis), Outbox(redis)
    await records.write(record)
    announcements = Announcements(outbox, records, public_url="https://api.example/")
    await announcements.note(run)
    await announcements.note(run)
    return await outbox.latest(limit=10)


async def test_a_film_is_announced_once_with_what_the_predecessor_told(redis: Redis) -> None:
    run = ended(RunState.COMPLETED)
    film = Film(film_key="runs/abc/film.mp4", byte_count=1000, duration=30.5, width=720, height=1280, scenes=2)
    record = JobRecord(
        job_id=run.job.job_id,
        stage=Stage.DONE,
        film=film,
        voiceover_key="content/abc/voiceover/1.wav",
        image_keys=("content/abc/picture/1.png", "content/abc/picture/2.png"),
    )
    [told] = await announced(run, record, redis)

    body = json.loads(told.body)
    assert (body["event"], body["type"]) == ("job_completed", "job_completed")
    data = body["data"]
    assert data["run_id"] == "lisbon"
    assert data["status"] == "completed"
    assert data["workflow_id"] == run.name
    assert data["final_video_path"] == "runs/abc/film.mp4"
    assert data["video_files"] == ["runs/abc/film.mp4"]
    assert data["image_files"] == list(record.image_keys)
    assert data["voiceover_path"] == record.voiceover_key
    assert data["output_dir"].endswith(str(run.job.job_id))
    assert data["final_video_url"] == "https://api.example/orchestrate/video/lisbon"
    assert data["error"] is None


@pytest.mark.parametrize(
    ("state", "status"), [(RunState.FAILED, "failed"), (RunState.CRASHED, "crashed"), (RunState.CANCELLED, "cancelled")]
)
async def test_a_job_without_a_film_is_announced_with_its_reason(redis: Redis, state: RunState, status: str) -> None:
    run = ended(state)
    failure = JobFailure(stage=Stage.IMAGES, code="image_failed", reason="error", message="ComfyUI could not paint.")
    [told] = await announced(run, JobRecord(job_id=run.job.job_id, failure=failure), redis)

    body = json.loads(told.body)
    assert body["event"] == "job_failed"
    assert body["data"]["status"] == status
    assert body["data"]["error"] == "ComfyUI could not paint."
    assert body["data"]["failure"]["code"] == "image_failed"
    assert (body["data"]["final_video_path"], body["data"]["video_files"]) == (None, [])


@pytest.mark.parametrize("url", ["http://app.example/hook", "https://user:pw@app.example/", "ftp://app.example/"])
def test_in_production_the_address_must_be_https_and_hold_no_user(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^Set TABARIO_WEBHOOK_URL") as caught:
        endpoint_of(settings(url), Environment.PRODUCTION)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(("allow_private", "problem"), [(False, "public internet"), (True, "does not answer")])
async def test_in_production_our_own_network_is_out_of_reach_unless_allowed(
    *, allow_private: bool, problem: str
) -> None:
    url = f"https://127.0.0.1:{free_port()}/"
    endpoint = endpoint_of(settings(url, allow_private=allow_private), Environment.PRODUCTION)
    assert endpoint is not None
    clock = SettableClock()
    with pytest.raises(Exception, match=problem):
        await endpoint.send(message(clock), at=clock())
