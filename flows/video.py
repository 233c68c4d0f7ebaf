"""The flow: from an accepted job to a published film."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.images import paint_pictures
from flows.merge import merge
from flows.publish import publish
from flows.scenes import plan
from flows.studio import Studio, open_studio
from flows.tracking import track
from flows.voiceover import speak
from tabario import names
from tabario.jobs import Job
from tabario.logs import logging_about
from tabario.records import Film
from tabario.settings import TracingSettings
from tabario.settings_source import read_group
from tabario.tracing import start_tracing

# Prefect opens the run's span before it calls the flow, so this cannot wait until then.
start_tracing(read_group(TracingSettings), service="tabario-flow")


@flow(name=names.FLOW, persist_result=False)  # what a second try needs lies in the media store, under content keys
async def generate_video(job: Job) -> Film | State[Any]:
    """Turns a script into a narrated short video."""
    with logging_about(run_id=job.run_id, flow_run_id=str(flow_run.get_id())):
        return await make(job)


async def make(job: Job) -> Film | State[Any]:
    """The film, or the state that the run ends in."""
    async with track(job) as (progress, redis):
        await progress.start()
        try:
            async with open_studio(job, progress, redis) as studio:
                return await make_film(studio)
        except Exception as error:  # noqa: BLE001 - the edge of the process: whatever went wrong is put on record
            return await progress.fail(error)


async def make_film(studio: Studio) -> Film:
    """The stages of a job, in order."""
    voiceover = await speak(studio)
    scenes = await plan(studio, voiceover)
    pictures = await paint_pictures(studio, scenes)
    master = await merge(studio, voiceover, scenes, pictures)
    return await publish(studio, master)
