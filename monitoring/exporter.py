"""The exporter: polls its sources in the background and shows the last answers.

The same object serves `python -m monitoring` and the front door's `/metrics`:

    exporter = create_exporter(..., scope=MetricsScope.ALL)
    app.router.routes.append(Route("/metrics", exporter.app))    # a Mount would redirect to /metrics/
    async with exporter:    # in the lifespan
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, Self

from prometheus_client import CollectorRegistry, make_asgi_app
from prometheus_client.metrics_core import Metric as Family
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.types import Receive, Scope, Send

from monitoring.collectors.queue import QueueDepth
from monitoring.collectors.recorded import RecordedTotals
from monitoring.collectors.runs import FlowRuns
from monitoring.collectors.slots import Slots
from monitoring.collectors.workers import Workers
from monitoring.families import gauge_family
from monitoring.high_water import HighWaterFile
from monitoring.prefect_reader import open_prefect_reader
from monitoring.process_series import ProcessSeries
from monitoring.source import Poller, Source
from tabario.metrics.definitions import (
    EXPORTER_COLLECT_DURATION_SECONDS,
    EXPORTER_LAST_SUCCESS_TIMESTAMP_SECONDS,
    EXPORTER_SOURCE_UP,
)
from tabario.metrics.ledger import MetricsLedger
from tabario.queue import JobQueue
from tabario.settings import MetricsScope, MetricsSettings, PrefectSettings, RedisSettings, SlotSettings
from tabario.webhooks.outbox import Outbox

REDIS_SECONDS: Final = 2.0
HIGH_WATER_FILE: Final = "high-water.json"

OpenSources = Callable[[], AbstractAsyncContextManager[Sequence[Source]]]


class MetricsApp:
    """ASGI application that answers any path with the metrics, in the text or the OpenMetrics format."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._serve = make_asgi_app(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        await self._serve(scope, receive, send)


class Exporter:
    """Polls while it is entered. `app` may be mounted before that and shows what is known so far."""

    def __init__(self, open_sources: OpenSources, process: ProcessSeries, *, interval: float) -> None:
        registry = CollectorRegistry()
        registry.register(self)
        self.app = MetricsApp(registry)
        self._open_sources = open_sources
        self._process = process
        self._interval = interval
        self._pollers: list[Poller] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            sources = await stack.enter_async_context(self._open_sources())
            self._pollers = [Poller(source, interval=self._interval) for source in sources]
            for poller in self._pollers:
                task = asyncio.create_task(poller.run(), name=f"poll {poller.source.name}")
                stack.push_async_callback(_stop, task)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def sources_up(self) -> dict[str, bool]:
        """Which sources answered the last time; those not asked yet are left out."""
        return {poller.source.name: poller.answer.up for poller in self._pollers if poller.answer is not None}

    def collect(self) -> Iterator[Family]:
        """Every family, from memory."""
        answers = {(poller.source.name,): poller.answer for poller in self._pollers if poller.answer is not None}
        yield from self._process.collect()
        for answer in answers.values():
            yield from answer.families
        if answers:
            yield gauge_family(EXPORTER_SOURCE_UP, {name: int(answer.up) for name, answer in answers.items()})
            durations = {name: answer.seconds for name, answer in answers.items()}
            yield gauge_family(EXPORTER_COLLECT_DURATION_SECONDS, durations)
            successes = {name: a.succeeded_at for name, a in answers.items() if a.succeeded_at is not None}
            yield gauge_family(EXPORTER_LAST_SUCCESS_TIMESTAMP_SECONDS, successes)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def create_exporter(
    *,
    redis: RedisSettings,
    prefect: PrefectSettings,
    slots: SlotSettings,
    metrics: MetricsSettings,
    scope: MetricsScope,
) -> Exporter:
    """An exporter of everything, or of this process only. Opens nothing until it is entered."""

    @asynccontextmanager
    async def all_sources() -> AsyncIterator[Sequence[Source]]:
        client = Redis.from_url(
            redis.url.get_secret_value(),
            decode_responses=True,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 1),  # a kept connection may lead to a Redis that was restarted
        )
        async with client, open_prefect_reader(prefect) as reader:
            yield (
                RecordedTotals(MetricsLedger(client), HighWaterFile(metrics.directory / HIGH_WATER_FILE)),
                QueueDepth(JobQueue(client), Outbox(client)),
                FlowRuns(reader),
                Workers(reader),
                Slots(reader, slots),
            )

    @asynccontextmanager
    async def no_sources() -> AsyncIterator[Sequence[Source]]:
        yield ()

    return Exporter(
        all_sources if scope is MetricsScope.ALL else no_sources,
        ProcessSeries(metrics.multiprocess_directory),
        interval=metrics.poll_seconds,
    )
