"""The fourth stage: voiceover, pictures and words become one film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.client.schemas.objects import State

from flows.stages import ended, options, result_of
from flows.studio import Studio
from tabario.film.encoders import find_encoder
from tabario.film.merge import FilmFacts, FilmOrder, merge_film
from tabario.film.stills import Still
from tabario.records import Stage
from tabario.scenes import Scene, ScenePicture, Voiceover


@dataclass(frozen=True, slots=True)
class Master:
    """The finished film, still in the work directory, and what was measured on it."""

    path: Path
    facts: FilmFacts
    scenes: int


async def merge(
    studio: Studio, voiceover: Voiceover, scenes: Sequence[Scene], pictures: Sequence[ScenePicture]
) -> Master:
    """The film, checked but not yet published."""
    async with studio.progress.stage(Stage.MERGE, "Putting the film together."):
        return await result_of(film(studio, voiceover, scenes, pictures))


@task(name="merge", task_run_name="merge", **options(Stage.MERGE))
async def film(
    studio: Studio, voiceover: Voiceover, scenes: Sequence[Scene], pictures: Sequence[ScenePicture]
) -> State[Master]:
    """Fetches the parts and merges them."""
    audio = studio.work_dir / "voiceover.wav"
    await studio.store.fetch(voiceover.audio_key, audio)
    stills = await fetch_stills(studio, scenes, pictures)
    destination = studio.work_dir / "film.mp4"
    settings = studio.media
    encoder = await find_encoder(studio.ffmpeg, settings.quality, hardware=settings.hardware_encoder)
    order = FilmOrder(
        stills,
        voiceover.words,
        audio,
        duration=voiceover.duration,
        frame=studio.job.spec.frame_size,
        encoder=encoder,
    )
    facts = await merge_film(
        order,
        work_dir=studio.work_dir / "merge",
        destination=destination,
        ffmpeg=studio.ffmpeg,
        on_progress=studio.progress.merged,
    )
    return ended(Master(destination, facts, len(scenes)), cached=False)


async def fetch_stills(studio: Studio, scenes: Sequence[Scene], pictures: Sequence[ScenePicture]) -> list[Still]:
    """The pictures as files, with the seconds that each is shown."""
    stills: list[Still] = []
    for scene, picture in zip(scenes, pictures, strict=True):
        path = studio.work_dir / f"scene-{scene.index:03d}.png"
        await studio.store.fetch(picture.image_key, path)
        stills.append(Still(path, scene.start, scene.end))
    return stills
