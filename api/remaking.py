"""Which scene of a finished job another job makes anew, and how that scene differs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from tabario.clients.prefect import Run
from tabario.errors import Conflict, NotFound
from tabario.jobs import Job, SceneChange, SceneWish
from tabario.records import JobRecords


@dataclass(frozen=True)
class Remake:
    """Scene `scene` of the job, made anew."""

    job: Job
    scene: int
    wish: SceneWish

    def changes(self, job_id: UUID) -> dict[int, SceneChange]:
        """What the job of that id makes differently from the spec: what was changed before, and this scene.

        A seed that nobody chose follows from the new job's id, so a repetition of the same request gives the same.
        """
        before = self.job.changes.get(self.scene)
        seed = int.from_bytes(hashlib.sha256(job_id.bytes).digest()[:4], "big")
        change = SceneChange(
            seed=seed if self.wish.seed is None else self.wish.seed,
            image_prompt=self.wish.image_prompt or (before.image_prompt if before else None),
        )
        return {**self.job.changes, self.scene: change}


async def require_scene(records: JobRecords, run: Run, scene: int) -> None:
    """Raises Conflict (`no_film`) unless the run has made a film, NotFound when that has no such scene."""
    record = await records.read(run.job.job_id)
    if record is None or record.film is None:
        raise Conflict("The job has made no film, or too long ago; start it anew.", code="no_film")
    if scene > record.film.scenes:
        raise NotFound(f"The film has {record.film.scenes} scenes, counted from 1.")
