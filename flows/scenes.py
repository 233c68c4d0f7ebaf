"""The second stage: what is shown while each sentence is spoken."""

from __future__ import annotations

from prefect import task
from prefect.client.schemas.objects import State

from flows.stages import ended, options, result_of
from flows.studio import Studio
from tabario.film.plan import change_scenes, plan_scenes
from tabario.jobs import Job
from tabario.records import Stage
from tabario.scenes import Scene, Voiceover


async def plan(studio: Studio, voiceover: Voiceover) -> tuple[Scene, ...]:
    """The scenes of the film, in order."""
    async with studio.progress.stage(Stage.SCENE_PLAN, "Planning the scenes."):
        scenes = await result_of(scene_plan(studio.job, voiceover))
        studio.progress.plan(scenes=len(scenes), film_seconds=voiceover.duration)
        return scenes


@task(name="scene plan", task_run_name="scene plan", **options())
async def scene_plan(job: Job, voiceover: Voiceover) -> State[tuple[Scene, ...]]:
    """Divides the film into scenes."""
    scenes = plan_scenes(job.spec, voiceover.words, voiceover.duration, user_id=job.user_id)
    return ended(change_scenes(scenes, job.spec, job.changes), cached=False)
