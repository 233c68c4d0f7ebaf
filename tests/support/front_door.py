"""The front door in the test's own process: real Redis and media store, Prefect and slots in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis

from api.app import create_app
from api.cancelling import Cancelling
from api.feed import Feed
from api.following import Following
from api.idempotency import Attempts, Starts
from api.lifespan import film_links
from api.outcomes import Outcomes
from api.rates import Rates
from api.references import RunReferences
from api.services import Services
from api.submission import Submission
from api.views import RunViews
from tabario.changes import JobChanges
from tabario.clients.prefect import Run
from tabario.clients.store import MediaStore
from tabario.entitlements.cache import TierCache
from tabario.entitlements.entitlement import Entitlements
from tabario.film.fonts import Fonts
from tabario.film.kit import FilmKit
from tabario.film.music import MusicShelf
from tabario.metrics.ledger import MetricsLedger
from tabario.metrics.recorder import RedisRecorder
from tabario.metrics.spool import Spool
from tabario.queue import JobQueue
from tabario.records import JobRecords
from tabario.settings import (
    ApiSettings,
    AuthSettings,
    ComfyUISettings,
    CoreSettings,
    Environment,
    MediaSettings,
    MetricsScope,
    MetricsSettings,
    PrefectSettings,
    RedisSettings,
    Settings,
    SlotSettings,
    VoiceSettings,
)
from tabario.slots.gate import Gate
from tabario.tiers import Tier
from tests.support.runs import InMemoryAdmission, InMemoryPrefect
from tests.support.tokens import KEY, USER, token


def front_door_settings(directory: Path, *, redis_url: str, prefect_url: str, **api: Any) -> Settings:  # noqa: ANN401 - any setting
    """Settings of a development front door whose files lie in `directory`."""
    return Settings(
        core=CoreSettings(environment=Environment.DEVELOPMENT, state_dir=directory),
        redis=RedisSettings(url=SecretStr(redis_url)),
        prefect=PrefectSettings(url=prefect_url, one_writer=True),
        comfyui=ComfyUISettings(url="http://127.0.0.1:1"),
        voice=VoiceSettings(),
        media=MediaSettings(root=directory / "media"),
        slots=SlotSettings(),
        auth=AuthSettings.model_validate({"development_key": KEY}),
        api=ApiSettings(**api),
        metrics=MetricsSettings.model_validate({"scope": MetricsScope.PROCESS, "directory": directory / "metrics"}),
    )


@dataclass(frozen=True)
class FrontDoor:
    """A running front door and the parts behind it."""

    app: FastAPI
    redis: Redis
    prefect: InMemoryPrefect
    admission: InMemoryAdmission
    gate: Gate
    records: JobRecords
    queue: JobQueue
    films: MediaStore
    ledger: MetricsLedger
    outcomes: Outcomes
    feed: Feed
    anonymous: httpx.AsyncClient

    async def is_followed(self, run: Run, *, by: int = 1) -> bool:
        """Whether at least so many follow the run's events."""
        return self.feed.followers_of(run.job.job_id) >= by

    @asynccontextmanager
    async def client(self, *, user_id: str = USER, tier: Tier = Tier.STANDARD) -> AsyncIterator[httpx.AsyncClient]:
        """A client with a user's token."""
        headers = {"Authorization": f"Bearer {token(user_id=user_id, tier=tier)}"}
        async with httpx.AsyncClient(transport=_transport(self.app), base_url="http://door", headers=headers) as client:
            yield client


@asynccontextmanager
async def front_door(
    redis: Redis,
    directory: Path,
    *,
    gate_open: bool = True,
    **api: Any,  # noqa: ANN401 - any setting
) -> AsyncIterator[FrontDoor]:
    """Opens a front door, by default with a gate that a keeper has just opened. `api` are settings of its own."""
    settings = front_door_settings(
        directory, redis_url="redis://127.0.0.1:1", prefect_url="http://127.0.0.1:1/api", **api
    )
    prefect, admission = InMemoryPrefect(), InMemoryAdmission(settings.slots)
    gate = Gate(redis, seconds=settings.slots.gate)
    if gate_open:
        await gate.open(since=0)
    changes = JobChanges(redis)
    records, queue, films = JobRecords(redis), JobQueue(redis), MediaStore(settings.media.root)
    ledger = MetricsLedger(redis)
    recorder = RedisRecorder(ledger, Spool(settings.metrics.directory))

    submission = Submission(
        admission=admission,
        runs=prefect,
        references=RunReferences(redis),
        queue=queue,
        records=records,
        recorder=recorder,
    )

    views, feed = RunViews(records, public_url=settings.api.public_url), Feed(changes)

    @asynccontextmanager
    async def services(_: Settings) -> AsyncIterator[Services]:
        opened = Services(
            runs=prefect,
            entitlements=Entitlements(None, TierCache(redis), recorder),
            starts=Starts(submission, Attempts(redis)),
            rates=Rates(redis, settings.api),
            following=Following(feed, changes, views),
            records=records,
            views=views,
            cancelling=Cancelling(prefect, views, redis),
            films=films,
            kit=FilmKit(Fonts([directory / "fonts"]), MusicShelf(directory / "music"), settings.voice.engine),
            links=film_links(settings.api),
            gate=gate,
            slots=settings.slots,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            yield opened
            tasks.cancel_scope.cancel()

    app = create_app(settings, services=services)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=_transport(app), base_url="http://door") as anonymous,
    ):
        yield FrontDoor(
            app=app,
            redis=redis,
            prefect=prefect,
            admission=admission,
            gate=gate,
            records=records,
            queue=queue,
            films=films,
            ledger=ledger,
            outcomes=Outcomes(queue=queue, records=records, recorder=recorder),
            feed=feed,
            anonymous=anonymous,
        )


def _transport(app: FastAPI) -> httpx.ASGITransport:
    return httpx.ASGITransport(app)
