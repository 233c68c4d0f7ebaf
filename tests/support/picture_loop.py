"""The image loop of one job as a flow process of its own: the real tasks under a real Prefect, without film or voice.

`python -m tests.support.picture_loop JOB PICTURES URL`: the job as JSON, how many pictures, and the addresses of the
ComfyUI servers. Writes the seconds that the loop took.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from prefect import flow

from blocks.comfyui import ComfyUI
from flows.images import paint_pictures
from flows.measures import RequestMeasures
from flows.studio import open_studio
from flows.tracking import track
from tabario.jobs import Job
from tabario.records import Stage
from tabario.scenes import Scene
from tabario.settings import ComfyUISettings


def scenes_of(job: Job, count: int) -> list[Scene]:
    """Scenes whose pictures no other job of the same user has."""
    return [
        Scene(index=n, text=f"Scene {n}.", image_prompt=f"scene {n} of {job.run_id}", start=n - 1, end=n, seed=n)
        for n in range(1, count + 1)
    ]


@flow(name="picture-loop", persist_result=False)
async def picture_loop(job: Job, pictures: int, url: str) -> float:
    """Paints the pictures; returns the seconds it took."""
    block = ComfyUI.from_settings(ComfyUISettings(url=url))
    async with (
        track(job) as (progress, redis),
        open_studio(job, progress, redis) as studio,
        block.open(redis, RequestMeasures(progress.recorder)) as pool,
    ):
        scenes = scenes_of(job, pictures)
        progress.plan(scenes=len(scenes), film_seconds=float(len(scenes)))
        await paint_pictures(replace(studio, comfyui=pool), scenes)
        return progress.receipt.stage_seconds[Stage.IMAGES]


@dataclass(frozen=True)
class PictureLoop:
    """What starts such processes: a Prefect server on which everything is deployed."""

    prefect_url: str
    directory: Path

    @asynccontextmanager
    async def started(self, job: Job, pictures: int, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process that paints the pictures of the job; if it lives at the end of the block, SIGKILL ends it."""
        with (self.directory / "picture-loop.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.picture_loop", job.model_dump_json(), str(pictures), url),
                env=self._environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, job: Job, pictures: int, url: str) -> float:
        """Seconds that the loop took in a process of its own."""
        async with self.started(job, pictures, url) as process:
            output, _ = await process.communicate()
        assert process.returncode == 0, f"the picture loop failed; see {self.directory / 'picture-loop.log'}"
        return float(output.split()[-1])

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "PREFECT_API_URL": self.prefect_url,
            "PREFECT_HOME": str(self.directory / "prefect-home"),
            "TABARIO_STATE_DIR": str(self.directory / "state"),
            "TABARIO_METRICS_DIRECTORY": str(self.directory / "metrics"),
        }


def main() -> None:
    """Runs the flow."""
    job, pictures, url = sys.argv[1:]
    seconds = asyncio.run(picture_loop(Job.model_validate_json(job), int(pictures), url))
    sys.stdout.write(f"{seconds}\n")


if __name__ == "__main__":
    main()
