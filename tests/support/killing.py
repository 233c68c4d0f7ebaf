"""Kills the process of an image loop in the middle, and lets another one take over."""

from __future__ import annotations

from tabario.jobs import Job
from tests.support.comfyui import ComfyUIServer
from tests.support.picture_loop import PictureLoop
from tests.support.waiting import eventually


async def kill_and_resume(loop: PictureLoop, server: ComfyUIServer, job: Job, pictures: int, *, after: int) -> int:
    """Pictures that the stand-in painted for the job in all, by its own log.

    The first process ends by SIGKILL as soon as `after` pictures are painted.
    """

    def painted() -> int:
        return sum(run["images"] for run in server.runs() if run["extra_data"]["job_id"] == str(job.job_id))

    async def has_begun() -> bool:
        return painted() >= after

    async with loop.started(job, pictures, server.url):  # it is killed at the end of the block
        await eventually(has_begun, within=240, what=f"{after} pictures are painted")
    assert painted() < pictures, "the loop was over before it could be killed"
    await loop.run(job, pictures, server.url)
    return painted()
