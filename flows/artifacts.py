"""What operators see of a run in the Prefect UI, besides its states: progress, pictures, film, timings.

Artifacts inform; a run goes on without them when the Prefect API refuses one.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import re
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar
from uuid import UUID

import httpx
from PIL import Image
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from tabario.clients.store import MediaStore
from tabario.film.gate import Report
from tabario.records import Receipt
from tabario.scenes import Scene, ScenePicture

BAR_STEP: Final = 0.05  # each update is a write in Prefect's database
THUMBNAIL_PIXELS: Final = 160
THUMBNAIL_QUALITY: Final = 60

GALLERY_HEADING: Final = (
    "| scene | picture | words | prompt | shown | painted in |",
    "|---|---|---|---|---|---|",
)

_log = logging.getLogger(__name__)
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&])")

T = TypeVar("T")


class ProgressBar:
    """The progress bar of one run, moved in visible steps only."""

    def __init__(self, job_id: UUID) -> None:
        self._job_id = job_id
        self._artifact: UUID | None = None
        self._shown = -1.0

    async def show(self, progress: float, message: str) -> None:
        """Moves the bar to `progress`, from 0 to 1."""
        if progress - self._shown < BAR_STEP and progress < 1:
            return
        self._shown = progress
        percent = round(100 * progress, 1)
        if self._artifact is None:
            self._artifact = await _kept_quiet(
                acreate_progress_artifact(percent, key=f"progress-{self._job_id}", description=message)
            )
        else:
            await _kept_quiet(aupdate_progress_artifact(self._artifact, percent, description=message))


async def show_gallery(
    job_id: UUID, scenes: Sequence[Scene], pictures: Sequence[ScenePicture], store: MediaStore
) -> None:
    """Shows the picture of each scene beside its words."""
    rows = [
        gallery_row(scene, picture, await _read_thumbnail(store, picture.image_key))
        for scene, picture in zip(scenes, pictures, strict=True)
    ]
    table = "\n".join((*GALLERY_HEADING, *rows))
    await _kept_quiet(acreate_markdown_artifact(table, key=f"pictures-{job_id}", description="The scenes"))


def gallery_row(scene: Scene, picture: ScenePicture, image: str) -> str:
    """A row of the gallery; `image` is the address of the picture to show."""
    made = "kept" if picture.cached else f"{picture.seconds:.1f} s"
    cells = (
        str(scene.index),
        f"![scene {scene.index}]({image})",
        plain(scene.text),
        plain(scene.image_prompt),
        f"{scene.start:.1f} to {scene.end:.1f} s",
        made,
    )
    return f"| {' | '.join(cells)} |"


async def _read_thumbnail(store: MediaStore, key: str) -> str:
    return await asyncio.to_thread(thumbnail, await store.read_bytes(key))


async def show_film(job_id: UUID, link: str) -> None:
    """Links to the film, which the front door gives to its owner only."""
    await _kept_quiet(
        acreate_link_artifact(
            link,
            link_text="Open the film",
            key=f"film-{job_id}",
            description="The finished film; the front door asks for its owner's access token",
        )
    )


async def show_receipt(job_id: UUID, receipt: Receipt) -> None:
    """Shows what the job has used."""
    used: dict[str, float] = {
        **{f"seconds of {stage.value}": seconds for stage, seconds in receipt.stage_seconds.items()},
        "seconds in all": round(sum(receipt.stage_seconds.values()), 3),
        "characters spoken": receipt.characters_spoken,
        "GPU seconds": round(receipt.gpu_seconds, 3),
        "pictures painted": receipt.pictures_painted,
        "pictures adopted": receipt.pictures_adopted,
        "bytes stored": receipt.bytes_stored,
    }
    rows = [{"used": what, "amount": amount} for what, amount in used.items()]
    await _kept_quiet(acreate_table_artifact(rows, key=f"receipt-{job_id}", description="What the job has used"))


async def show_report(job_id: UUID, report: Report) -> None:
    """Shows what the gate measured on the film, and what it should be."""
    rows = [
        {
            "check": check.name,
            "found": check.found,
            "wanted": check.wanted,
            "verdict": "passed" if check.holds else "REFUSED",
        }
        for check in report.checks
    ]
    verdict = "passed" if report.passed else "refused"
    await _kept_quiet(
        acreate_table_artifact(rows, key=f"gate-{job_id}", description=f"The quality gate: the film is {verdict}")
    )


def thumbnail(data: bytes) -> str:
    """A picture as a small JPEG in a data URI, which the UI shows without asking a server that needs a token."""
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def plain(text: str) -> str:
    """Text of a caller in one line, with every character of Markdown and HTML made harmless."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


async def _kept_quiet(call: Awaitable[T]) -> T | None:
    try:
        return await call
    except httpx.HTTPError as error:
        _log.warning("The Prefect API took no artifact: %s", error)
        return None
