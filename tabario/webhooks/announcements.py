"""What the app is told at the end of a job: the keeper calls this, after the run's slot is free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tabario.clients.prefect import Run, RunState
from tabario.content import run_key
from tabario.links import FilmLinks
from tabario.records import JobRecord, JobRecords
from tabario.slots.clock import Clock, utc_now
from tabario.webhooks.messages import EventName, Message
from tabario.webhooks.outbox import Outbox

LINK_LIFETIME: Final = timedelta(days=3)  # longer than deliveries are tried


class Announcements:
    """Puts a webhook for each ended job into the outbox. Safe to repeat: its id follows from the run and its lease."""

    def __init__(
        self,
        outbox: Outbox,
        records: JobRecords,
        *,
        public_url: str,
        links: FilmLinks | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._outbox = outbox
        self._records = records
        self._public_url = public_url.rstrip("/")
        self._links = links
        self._clock = clock

    async def note(self, run: Run) -> None:
        """Announces the end of a run."""
        record = await self._records.read(run.job.job_id) or JobRecord(job_id=run.job.job_id)
        event = EventName.JOB_COMPLETED if run.state is RunState.COMPLETED else EventName.JOB_FAILED
        now = self._clock()
        body = {
            "type": event,
            "event": event,
            "timestamp": _text(run.ended_at or now),
            "data": self._data(run, record),
        }
        await self._outbox.put(
            Message(
                id=f"msg_{uuid5(NAMESPACE_URL, f'{run.flow_run_id}#{run.lease_id}').hex}",
                event=event,
                run_id=run.job.run_id,
                body=json.dumps(body, ensure_ascii=False),
                created_at=now,
            )
        )

    def _data(self, run: Run, record: JobRecord) -> Mapping[str, Any]:
        """Paths are keys of the media store.

        The film itself is fetched from `final_video_url` with its owner's token, or from `final_video_link` without.
        """
        job, film, failure = run.job, record.film, record.failure
        return {
            "run_id": job.run_id,
            "status": run.state,
            "workflow_id": run.name,
            "user_id": job.user_id,
            "output_dir": str(PurePosixPath(run_key(job.user_id, job.job_id, "film")).parent),
            "final_video_path": film and film.film_key,
            "final_video_url": film and f"{self._public_url}/orchestrate/video/{job.run_id}",
            "final_video_link": self._link(run) if film else None,
            "video_files": [film.film_key] if film else [],
            "image_files": list(record.image_keys),
            "voiceover_path": record.voiceover_key,
            "duration": film and film.duration,
            "width": film and film.width,
            "height": film and film.height,
            "bytes": film and film.byte_count,
            "error": failure and failure.message,
            "failure": failure and failure.model_dump(mode="json"),
            "receipt": record.receipt.model_dump(mode="json"),
            "caption": job.spec.caption,
            "language": job.spec.language,
            "platform": job.spec.platform,
            "video_idea_id": job.spec.video_idea_id,
            "accepted_at": _text(job.accepted_at),
            "ended_at": _text(run.ended_at) if run.ended_at else None,
        }

    def _link(self, run: Run) -> str | None:
        if self._links is None:
            return None
        return self._links.make(run.job.user_id, run.job.run_id, lifetime=LINK_LIFETIME).url


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
