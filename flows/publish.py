"""The last stage: the film goes to where its owner finds it."""

from __future__ import annotations

from typing import Final

from prefect import task
from prefect.client.schemas.objects import State

from flows.artifacts import show_film, show_receipt
from flows.merge import Master
from flows.stages import ended, options, result_of
from flows.studio import Studio
from tabario.content import run_key
from tabario.metrics.definitions import VIDEO_SECONDS_PRODUCED
from tabario.records import Film, Stage

FILM_NAME: Final = "film.mp4"


async def publish(studio: Studio, master: Master) -> Film:
    """Stores the film and tells everybody."""
    job, progress = studio.job, studio.progress
    async with progress.stage(Stage.PUBLISH, "Storing the film."):
        film = await result_of(store_film(studio, master))
    await progress.recorder.record(f"{job.job_id}:produced", VIDEO_SECONDS_PRODUCED.increment(film.duration))
    await show_film(job.job_id, f"{studio.public_url}/orchestrate/video/{job.run_id}")
    await show_receipt(job.job_id, progress.receipt)
    return film


@task(name="publish", task_run_name="publish", **options())
async def store_film(studio: Studio, master: Master) -> State[Film]:
    """Puts the film and what goes with it into the store, each whole or not at all, and then on record."""
    key = run_key(studio.job.user_id, studio.job.job_id, FILM_NAME)
    await studio.store.put(key, master.path)
    companions = {name: run_key(studio.job.user_id, studio.job.job_id, name) for name in master.companions}
    for name, path in master.companions.items():
        await studio.store.put(companions[name], path)
    facts = master.facts
    film = Film(
        film_key=key,
        byte_count=facts.byte_count,
        duration=facts.duration,
        width=facts.width,
        height=facts.height,
        scenes=master.scenes,
        companions=companions,
    )
    await studio.progress.finish(film)
    return ended(film, cached=False)
