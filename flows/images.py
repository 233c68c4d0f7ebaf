"""The third stage: a picture for each scene, several on their way at a time."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.artifacts import show_gallery
from flows.cancelling import cancelled_once
from flows.measures import count_image, timed_image
from flows.stages import ended, options, result_of, try_id
from flows.studio import Studio
from tabario.clients.comfyui import StalePicture
from tabario.clients.comfyui.graph import Graph
from tabario.content import content_key
from tabario.errors import ImageFailed, ImageTimedOut
from tabario.film.pictures import check_picture
from tabario.jobs import Job
from tabario.metrics.definitions import COMFYUI_BUSY_SECONDS, TOTAL_IMAGES_GENERATION_SECONDS
from tabario.places import WEIGHTS, Turn
from tabario.records import Stage
from tabario.scenes import Scene, ScenePicture
from tabario.styles import STYLES
from tabario.styles.workflow import build_graph

AHEAD: Final = 2
"""Pictures of one job on their way for each place at a server: one is there, another is fetched, checked, or waits."""

ATTEMPTS: Final = 2
"""How often a job has a picture painted that comes out broken or black; each attempt has a seed of its own."""

MAX_NUMBER: Final = 50
"""Attempts are numbered through all jobs that want the picture. Of so many, what earlier jobs left is looked at."""

T = TypeVar("T")
R = TypeVar("R")


async def paint_pictures(studio: Studio, scenes: Sequence[Scene]) -> tuple[ScenePicture, ...]:
    """A checked picture for each scene, in order. The first failure stops the others."""
    gate = asyncio.Semaphore(studio.comfyui.capacity * AHEAD)
    alike = defaultdict[str, asyncio.Lock](asyncio.Lock)  # the second of two equal scenes adopts the first one's

    async def paint(scene: Scene) -> ScenePicture:
        async with alike[picture_key(studio.job, scene)], gate:
            picture = await result_of(image(studio, scene))
        await studio.progress.picture_done(cached=picture.cached)
        return picture

    async with studio.progress.stage(Stage.IMAGES, "Painting the pictures."):
        began = time.monotonic()
        pictures = await all_or_first_error(paint, scenes)
        taken = TOTAL_IMAGES_GENERATION_SECONDS.observe(time.monotonic() - began)
        await studio.progress.recorder.record(f"{studio.job.job_id}:{flow_run.run_count}:images", taken)
        studio.progress.painted(pictures)
    await show_gallery(studio.job.job_id, scenes, pictures, studio.store)
    return pictures


async def all_or_first_error(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> tuple[R, ...]:
    """The results of `work` on all items at once. At the first error the others are cancelled and it is raised."""

    async def run(item: T) -> R:
        return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(item)) for item in items]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return tuple(task.result() for task in tasks)


@task(name="image", task_run_name="image {scene.index:02d}: {scene.text:.48}", **options())
async def image(studio: Studio, scene: Scene) -> State[ScenePicture]:
    """Adopts the picture of the same scene, or has it painted."""
    began = time.monotonic()
    key = picture_key(studio.job, scene)
    cached = await studio.store.adopt(key)
    if not cached:
        await keep_picture(studio, key, await paint_picture(studio, scene, key))
    size = studio.job.spec.image_size
    return ended(
        ScenePicture(
            index=scene.index,
            image_key=key,
            width=size.width,
            height=size.height,
            cached=cached,
            seconds=round(time.monotonic() - began, 3),
        ),
        cached=cached,
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """A checked PNG. `gpu_seconds` is what its job owes for it: nothing if another job had it painted."""

    data: bytes
    prompt_id: UUID
    gpu_seconds: float


async def keep_picture(studio: Studio, key: str, picture: Picture) -> None:
    """Stores a picture, and counts it then: until it is stored, another try or job may adopt its prompt."""
    try:
        await studio.store.put_bytes(key, picture.data)
    finally:
        studio.progress.charge_gpu(picture.prompt_id, picture.gpu_seconds)
    await count_image(studio.progress.recorder, picture.prompt_id, STYLES[studio.job.spec.image_style].workflow)


async def paint_picture(studio: Studio, scene: Scene, key: str) -> Picture:
    """A checked picture. Raises ImageFailed when no attempt gave one, ImageTimedOut, RetryLater."""
    attempts_left = ATTEMPTS
    for number in range(1, MAX_NUMBER):
        try:
            return await attempt_picture(studio, scene, key, number)
        except ImageTimedOut:
            raise
        except StalePicture as error:
            get_run_logger().warning("What an earlier job left of scene %d is of no use: %s", scene.index, error)
        except ImageFailed as error:
            attempts_left -= 1
            if not attempts_left:
                raise
            get_run_logger().warning("Scene %d is painted once more: %s", scene.index, error)
    return await attempt_picture(studio, scene, key, MAX_NUMBER)


async def attempt_picture(studio: Studio, scene: Scene, key: str, attempt: int) -> Picture:
    """One attempt at a picture.

    The prompt's id follows from what is painted, so a run that takes over from a dead one finds the picture that
    the dead one ordered.
    """
    prompt_id = prompt_id_of(key, attempt)
    graph = graph_of(studio.job, scene, attempt=attempt, filename_prefix=f"tabario/{prompt_id}")
    whose = {"job_id": str(studio.job.job_id), "scene": str(scene.index), "content_key": key}
    workflow = STYLES[studio.job.spec.image_style].workflow
    turn = Turn(job=str(studio.job.job_id), weight=WEIGHTS[studio.job.tier], model=graph.model)
    async with timed_image(studio.progress.recorder, f"{try_id()}:{attempt}", workflow) as watch:
        painted, data = await cancelled_once(
            studio.comfyui.paint(graph, prompt_id=prompt_id, extra_data=whose, turn=turn, on_place=watch.restart)
        )
        with painted.examined():
            await asyncio.to_thread(partial(check_picture, black=scene.black), data, studio.job.spec.image_size)
    busy = COMFYUI_BUSY_SECONDS.increment(painted.busy_seconds)
    await studio.progress.recorder.record(f"{prompt_id}:busy", busy)
    return Picture(data, prompt_id, painted.busy_seconds if painted.ours else 0.0)


def graph_of(job: Job, scene: Scene, *, attempt: int, filename_prefix: str) -> Graph:
    """What ComfyUI runs for a scene."""
    style = STYLES[job.spec.image_style]
    return build_graph(
        style.workflow,
        prompt=scene.image_prompt,
        negative_prompt=style.negative_prompt,
        size=job.spec.image_size,
        seed=scene.seed + attempt - 1,
        filename_prefix=filename_prefix,
    )


def picture_key(job: Job, scene: Scene) -> str:
    """Where the picture is kept: by everything that ComfyUI is told, the model included."""
    graph = graph_of(job, scene, attempt=1, filename_prefix="")
    return content_key("picture", job.user_id, ".png", graph=json.dumps(graph.nodes, sort_keys=True))


def prompt_id_of(key: str, attempt: int) -> UUID:
    """The prompt of one attempt at the picture under a key."""
    return uuid5(NAMESPACE_URL, f"{key}#{attempt}")
