"""The fourth stage: voiceover, pictures and words become one film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State

from flows.artifacts import show_report
from flows.images import image
from flows.stages import ended, options, result_of
from flows.studio import Studio
from tabario.errors import NotFound, RetryLater
from tabario.film.burning import Typesetting
from tabario.film.companions import make_companions
from tabario.film.encoders import SOFTWARE, find_encoder
from tabario.film.fonts import Fonts
from tabario.film.merge import FilmFacts, FilmOrder, merge_twice
from tabario.film.music import MusicShelf
from tabario.film.stills import Still
from tabario.records import Companion, Stage
from tabario.scenes import Scene, ScenePicture, Voiceover
from tabario.styles.subtitles import SUBTITLE_STYLES


@dataclass(frozen=True, slots=True)
class Master:
    """The finished film, still in the work directory, and what was measured on it."""

    path: Path
    facts: FilmFacts
    scenes: int
    companions: Mapping[Companion, Path]


async def merge(
    studio: Studio, voiceover: Voiceover, scenes: Sequence[Scene], pictures: Sequence[ScenePicture]
) -> Master:
    """The film, checked but not yet published."""
    async with studio.progress.stage(Stage.MERGE, "Putting the film together."):
        return await result_of(film(studio, voiceover, scenes, pictures))


@task(name="merge", task_run_name="merge", **options())
async def film(
    studio: Studio, voiceover: Voiceover, scenes: Sequence[Scene], pictures: Sequence[ScenePicture]
) -> State[Master]:
    """Fetches the parts and merges them."""
    audio = studio.work_dir / "voiceover.wav"
    await fetch_voiceover(studio, voiceover, audio)
    stills = await fetch_stills(studio, scenes, pictures)
    settings, spec = studio.media, studio.job.spec
    order = FilmOrder(
        stills,
        voiceover.words,
        audio,
        duration=voiceover.duration,
        frame=spec.frame_size,
        setting=Typesetting(Fonts(), SUBTITLE_STYLES[spec.subtitle_style], spec.language),
        music=MusicShelf(settings.music).find(spec.music) if spec.music else None,
        encoder=await find_encoder(studio.ffmpeg, settings.quality, hardware=settings.hardware_encoder),
    )
    master = studio.work_dir / "film.mp4"
    facts = await merge_twice(
        order,
        SOFTWARE[settings.quality],
        work_dir=studio.work_dir / "merge",
        destination=master,
        ffmpeg=studio.ffmpeg,
        on_progress=studio.progress.merged,
        on_report=partial(show_report, studio.job.job_id),
    )
    companions = await make_companions(
        studio.ffmpeg, master, voiceover.words, film_seconds=facts.duration, poster_second=stills[0].end / 2
    )
    return ended(Master(master, facts, len(scenes), companions), cached=False)


async def fetch_voiceover(studio: Studio, voiceover: Voiceover, destination: Path) -> None:
    """The sound as a file.

    Raises RetryLater when it is gone meanwhile: the scenes follow its times, so only another job can have it anew.
    """
    try:
        await studio.store.fetch(voiceover.audio_key, destination)
    except NotFound as error:
        raise RetryLater("The voiceover was removed from the media store while the job ran.") from error


async def fetch_stills(studio: Studio, scenes: Sequence[Scene], pictures: Sequence[ScenePicture]) -> list[Still]:
    """The pictures as files, with the seconds that each is shown. One that is gone meanwhile is painted again."""
    stills: list[Still] = []
    for scene, picture in zip(scenes, pictures, strict=True):
        path = studio.work_dir / f"scene-{scene.index:03d}.png"
        try:
            await studio.store.fetch(picture.image_key, path)
        except NotFound:
            get_run_logger().warning("The picture of scene %d is gone from the media store.", scene.index)
            again = await result_of(image(studio, scene))
            studio.progress.charge(pictures_painted=int(not again.cached))
            await studio.store.fetch(again.image_key, path)
        stills.append(Still(path, scene.start, scene.end))
    return stills
