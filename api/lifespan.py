"""Opens what the front door works with, and closes it again, in one place."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Final

import anyio
from fastapi import FastAPI
from redis.asyncio import Redis

from api.cancelling import Cancelling
from api.feed import Feed
from api.following import Following
from api.idempotency import Attempts, Starts
from api.outcomes import Outcomes
from api.passes import Passes
from api.rates import Rates
from api.references import RunReferences
from api.services import OpenServices, Services
from api.submission import Submission
from api.views import RunViews
from tabario.changes import JobChanges
from tabario.clients.prefect import open_prefect
from tabario.clients.prefect.events import watch_endings
from tabario.clients.store import open_store
from tabario.entitlements.entitlement import Entitlements, open_entitlements
from tabario.errors import RetryLater
from tabario.film.kit import FilmKit
from tabario.links import FilmLinks
from tabario.metrics.recorder import SureRecorder, open_recorder
from tabario.queue import JobQueue
from tabario.queue_audit import QueueAudit
from tabario.records import JobRecords
from tabario.settings import ApiSettings, Settings
from tabario.slots.admission import Admission
from tabario.slots.gate import Gate
from tabario.slots.keeper import Keeper
from tabario.tokens.verifier import TokenVerifier
from tabario.webhooks.announcements import Announcements
from tabario.webhooks.courier import Courier
from tabario.webhooks.endpoint import endpoint_of
from tabario.webhooks.outbox import Outbox

REDIS_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


def lifespan(
    settings: Settings,
    services: OpenServices,
    verifier: TokenVerifier,
    exporter: AbstractAsyncContextManager[object] | None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The app's lifespan: its services are open, and the exporter polls, while it serves."""

    @asynccontextmanager
    async def serve(app: FastAPI) -> AsyncIterator[None]:
        async with services(settings) as opened, exporter or nullcontext(), AsyncExitStack() as stack:
            stack.push_async_callback(verifier.close)
            app.state.services = opened
            yield

    return serve


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """The real services: clients of Redis and Prefect, and the slot keeper as a task beside them."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(_redis(settings))
        prefect = await stack.enter_async_context(open_prefect(settings.prefect))
        recorder = await stack.enter_async_context(_recorder(settings))
        entitlements = await stack.enter_async_context(open_entitlements(settings.auth, redis, recorder))
        await _probe(entitlements)
        records, queue, changes = JobRecords(redis), JobQueue(redis), JobChanges(redis)
        views, feed = RunViews(records, public_url=settings.api.public_url), Feed(changes)
        outcomes = Outcomes(queue=queue, records=records, recorder=recorder)
        endpoint = endpoint_of(settings.webhook, settings.core.environment)
        links = film_links(settings.api)
        announcements = Announcements(Outbox(redis), records, public_url=settings.api.public_url, links=links)
        keeper = Keeper(
            prefect,
            redis,
            settings.slots,
            hints=partial(watch_endings, settings.prefect),
            on_ended=[outcomes.note, *([announcements.note] if endpoint else [])],
            on_pass=Passes(QueueAudit(queue, recorder), recorder).note,
        )
        couriers = [Courier(redis, endpoint, recorder).run] if endpoint else []
        await stack.enter_async_context(_running(partial(keep, keeper.run), feed.run, *couriers))
        submission = Submission(
            admission=Admission(prefect.leases, redis, settings.slots),
            runs=prefect,
            references=RunReferences(redis),
            queue=queue,
            records=records,
            recorder=recorder,
        )
        yield Services(
            runs=prefect,
            entitlements=entitlements,
            starts=Starts(submission, Attempts(redis)),
            rates=Rates(redis, settings.api),
            following=Following(feed, changes, views),
            records=records,
            views=views,
            cancelling=Cancelling(prefect, views, redis),
            films=open_store(settings.media),
            kit=FilmKit.from_settings(settings.media, settings.voice),
            links=links,
            gate=Gate(redis, seconds=settings.slots.gate),
            slots=settings.slots,
        )


async def _probe(entitlements: Entitlements) -> None:
    """Lets a wrong key stop the start with a sentence; a Supabase that is only away does not."""
    with suppress(RetryLater):
        await entitlements.probe()


def film_links(settings: ApiSettings) -> FilmLinks | None:
    """The maker of links, if the settings have a key for it."""
    if settings.link_key is None:
        return None
    return FilmLinks(settings.link_key.get_secret_value().encode(), public_url=settings.public_url)


def _redis(settings: Settings) -> Redis:
    return Redis.from_url(
        settings.redis.url.get_secret_value(),
        decode_responses=True,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
    )


def _recorder(settings: Settings) -> AbstractAsyncContextManager[SureRecorder]:
    return open_recorder(
        settings.redis.url.get_secret_value(),
        enabled=settings.metrics.enabled,
        spool_directory=settings.metrics.directory,
    )


@asynccontextmanager
async def _running(*services: Callable[[], Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Each runs as a task until the block ends."""
    async with anyio.create_task_group() as tasks:
        for service in services:
            tasks.start_soon(service)
        yield
        tasks.cancel_scope.cancel()


async def keep(run: Callable[[], Awaitable[None]]) -> None:
    """Runs the keeper, which outlives every fault that it expects.

    After one that it does not, the process asks itself to stop: without a keeper it could only refuse, and whoever
    supervises it starts another.
    """
    try:
        await run()
    except Exception:  # the edge of a background task: unseen, its death would leave a front door that only refuses
        log.exception("The slot keeper died; this process stops.")
        signal.raise_signal(signal.SIGTERM)
