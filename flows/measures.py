"""What the flow counts and times."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID, uuid4

from tabario.clients.comfyui import StalePicture
from tabario.errors import RetryLater, StageFailed
from tabario.jobs import Job
from tabario.metrics.definitions import (
    COMFYUI_REQUEST_ERRORS,
    COMFYUI_REQUEST_SECONDS,
    COMFYUI_REQUESTS,
    IMAGE_GENERATION_FAILURES,
    IMAGE_GENERATION_SECONDS,
    IMAGE_GENERATION_SLOW,
    IMAGES_GENERATED,
    JOBS_RESUMED,
    JOBS_STARTED,
    QUEUE_WAIT_SECONDS,
    SLOW_IMAGE_SECONDS,
    VOICEOVER_FAILURES,
    VOICEOVER_GENERATION_SECONDS,
)
from tabario.metrics.recorder import Recorder
from tabario.metrics.series import Observation
from tabario.names import WORK_QUEUES
from tabario.tracing import note_request

_COUNTED_ENDPOINTS: Final = frozenset(label["endpoint"] for label in COMFYUI_REQUEST_SECONDS.label_sets())
_ANSWERED: Final = frozenset(label["status"] for label in COMFYUI_REQUESTS.label_sets())


class RequestMeasures:
    """Counts every HTTP exchange with ComfyUI."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Takes note of one exchange; `outcome` is a status class, or why no answer came."""
        note_request(f"ComfyUI {endpoint}", outcome=outcome, seconds=seconds)
        if outcome not in _ANSWERED:
            await self._recorder.record(uuid4().hex, COMFYUI_REQUEST_ERRORS.increment(reason=outcome))
        elif endpoint in _COUNTED_ENDPOINTS:
            await self._recorder.record(
                uuid4().hex,
                COMFYUI_REQUESTS.increment(endpoint=endpoint, status=outcome),
                COMFYUI_REQUEST_SECONDS.observe(seconds, endpoint=endpoint),
            )


async def count_start(recorder: Recorder, job: Job, waited: float, *, beginnings: int) -> None:
    """Counts a job as started, once however often it is resumed, and each resumption.

    `waited` is in seconds; `beginnings` is how often the job has begun, this time included.
    """
    if beginnings > 1:
        await recorder.record(f"{job.job_id}:{beginnings}:resumed", JOBS_RESUMED.increment())
    await recorder.record(
        f"{job.job_id}:started",
        JOBS_STARTED.increment(),
        QUEUE_WAIT_SECONDS.observe(waited, work_queue=WORK_QUEUES[job.tier]),
    )


@asynccontextmanager
async def timed_voiceover(recorder: Recorder, try_id: str) -> AsyncIterator[None]:
    """Times the speaking of a script, and counts it when it fails."""
    began = time.monotonic()
    try:
        yield
    except (StageFailed, RetryLater) as error:
        await recorder.record(f"{try_id}:voiceover", VOICEOVER_FAILURES.increment(reason=reason_of(error)))
        raise
    seconds = time.monotonic() - began
    await recorder.record(f"{try_id}:voiceover", VOICEOVER_GENERATION_SECONDS.observe(seconds))


class Stopwatch:
    """Seconds since it was started, or started again."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def restart(self) -> None:
        """Begins anew."""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """What it shows."""
        return time.monotonic() - self._began


@asynccontextmanager
async def timed_image(recorder: Recorder, try_id: str, workflow: str) -> AsyncIterator[Stopwatch]:
    """Times a picture, failed ones too: else slow servers would look fast. The block restarts the watch to begin.

    A stale one was counted when it failed its own job.
    """
    watch = Stopwatch()
    try:
        yield watch
    except StalePicture:
        raise
    except (StageFailed, RetryLater) as error:
        failed = IMAGE_GENERATION_FAILURES.increment(reason=reason_of(error))
        await recorder.record(f"{try_id}:image", failed, *_image_seconds(watch.seconds, workflow))
        raise
    await recorder.record(f"{try_id}:image", *_image_seconds(watch.seconds, workflow))


async def count_image(recorder: Recorder, prompt_id: UUID, workflow: str) -> None:
    """Counts a picture that is in the store: once, however many tries and jobs adopted its prompt."""
    await recorder.record(f"{prompt_id}:made", IMAGES_GENERATED.increment(workflow=workflow))


def _image_seconds(seconds: float, workflow: str) -> tuple[Observation, ...]:
    taken = IMAGE_GENERATION_SECONDS.observe(seconds, step="text2image", workflow=workflow)
    return (taken, IMAGE_GENERATION_SLOW.increment()) if seconds > SLOW_IMAGE_SECONDS else (taken,)


def reason_of(error: Exception) -> str:
    """The failure's reason as a metric label."""
    return error.reason if isinstance(error, StageFailed) else "error"
