"""How a run is shown: what Prefect says of it, joined with its record."""

from __future__ import annotations

from collections.abc import Sequence

from api.bodies import ActiveRun, FilmBody, ProgressBody, RunBody
from api.outcomes import failure_of
from tabario.clients.prefect import Run, RunState
from tabario.records import Companion, Film, JobRecord, JobRecords, Stage


class RunViews:
    """Joins runs with their records."""

    def __init__(self, records: JobRecords, *, public_url: str) -> None:
        self._records = records
        self._public_url = public_url.rstrip("/")

    async def show(self, run: Run) -> RunBody:
        """One run in full."""
        [body] = await self.show_all([run])
        return body

    async def show_all(self, runs: Sequence[Run]) -> list[RunBody]:
        """Several runs in full, in their order."""
        return [self._body(run, record) for run, record in await self._joined(runs)]

    async def active(self, runs: Sequence[Run]) -> list[ActiveRun]:
        """Several runs as holders of slots."""
        return [
            ActiveRun(run_id=run.job.run_id, stage=record.stage, progress=record.progress, started_at=run.started_at)
            for run, record in await self._joined(runs)
            if not run.state.terminal or starts_over(run, record)
        ]

    def progress(self, run: Run, record: JobRecord) -> ProgressBody:
        """A version of the run's record, for those who follow it."""
        return ProgressBody(
            run_id=run.job.run_id,
            stage=record.stage,
            progress=record.progress,
            message=record.message,
            seconds_left=record.seconds_left,
            scenes_done=record.scenes_done,
            scenes_total=record.scenes_total,
            failure=record.failure,
            film=self._film(run, record.film),
        )

    async def record(self, run: Run) -> JobRecord:
        """The run's record, or what stands in for one that has expired."""
        return await self._records.read(run.job.job_id) or _forgotten(run)

    async def _joined(self, runs: Sequence[Run]) -> list[tuple[Run, JobRecord]]:
        records = await self._records.read_many([run.job.job_id for run in runs])
        return [(run, record or _forgotten(run)) for run, record in zip(runs, records, strict=True)]

    def _body(self, run: Run, record: JobRecord) -> RunBody:
        again = starts_over(run, record)
        return RunBody(
            run_id=run.job.run_id,
            flow_run_id=run.flow_run_id,
            workflow_id=run.name,
            state=RunState.QUEUED if again else run.state,
            stage=record.stage,
            progress=record.progress,
            message="Starting over after a crash." if again else record.message,
            seconds_left=None if run.state.terminal else record.seconds_left,
            scenes_done=record.scenes_done,
            scenes_total=record.scenes_total,
            failure=record.failure,
            receipt=record.receipt,
            film=self._film(run, record.film),
            accepted_at=run.job.accepted_at,
            started_at=run.started_at,
            ended_at=None if again else run.ended_at,
        )

    def _film(self, run: Run, film: Film | None) -> FilmBody | None:
        if film is None:
            return None
        url = f"{self._public_url}/orchestrate/video/{run.job.run_id}"
        poster, srt, vtt = (f"{url}/{name}" if name in film.companions else None for name in Companion)
        return FilmBody(
            url=url,
            poster_url=poster,
            srt_url=srt,
            vtt_url=vtt,
            duration=film.duration,
            bytes=film.byte_count,
            width=film.width,
            height=film.height,
        )


def starts_over(run: Run, record: JobRecord) -> bool:
    """Whether the run crashed and keeps its slot, to be resumed or declared failed within seconds."""
    return run.state is RunState.CRASHED and record.failure is None


def _forgotten(run: Run) -> JobRecord:
    """Stands in for a record that has expired."""
    done = run.state is RunState.COMPLETED
    failed = run.state.terminal and not done
    return JobRecord(
        job_id=run.job.job_id,
        stage=Stage.DONE if done else Stage.QUEUED,
        progress=1.0 if done else 0.0,
        failure=failure_of(run.state, Stage.QUEUED) if failed else None,
        message="No details are kept of this job any more.",
    )
