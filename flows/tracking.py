"""Opens what follows a job while it runs: Redis, its sign of life, the metrics, the Prefect UI's progress bar."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from prefect.runtime import flow_run
from prefect_redis import RedisDatabase
from prefect_redis.connection import redis_from_url
from redis.asyncio import Redis

from blocks.loading import load
from flows.artifacts import ProgressBar
from flows.progress import Progress
from tabario import names
from tabario.errors import ConfigurationError
from tabario.jobs import Job
from tabario.metrics.recorder import open_recorder
from tabario.queue import JobQueue
from tabario.records import JobRecords
from tabario.settings import MetricsSettings
from tabario.settings_source import read_group
from tabario.slots.heartbeat import beating

REDIS_SECONDS: Final = 5.0  # a Redis that hangs must not hang the job


@asynccontextmanager
async def track(job: Job) -> AsyncIterator[tuple[Progress, Redis]]:
    """The progress of a job, to be told by its stages, and Redis. Raises ConfigurationError before a deployment."""
    block = await load(RedisDatabase, names.REDIS_BLOCK)
    if block.connection_url is None:
        raise ConfigurationError("The Redis block holds no connection URL; run `tabario deploy`.")
    url = block.connection_url.get_secret_value()
    metrics = read_group(MetricsSettings)
    async with (
        redis_from_url(
            url, asynchronous=True, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
        ) as redis,
        open_recorder(url, enabled=metrics.enabled, spool_directory=metrics.directory) as recorder,
        beating(redis, UUID(flow_run.get_id())),
    ):
        progress = Progress(
            job,
            records=JobRecords(redis),
            queue=JobQueue(redis),
            recorder=recorder,
            bar=ProgressBar(job.job_id),
        )
        yield progress, redis
