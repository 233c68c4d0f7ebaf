"""Everything that the stages of one job work with, opened for the life of the run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from blocks.comfyui import ComfyUI
from blocks.loading import load
from blocks.media import MediaStoreLocation
from blocks.voice import VoiceService
from flows.measures import RequestMeasures
from flows.progress import Progress
from tabario import names
from tabario.clients.comfyui import ComfyUIPool
from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.store import MediaStore
from tabario.clients.voice import VoiceEngine
from tabario.jobs import Job
from tabario.settings import MediaSettings
from tabario.settings_source import read_group


@dataclass(frozen=True, slots=True)
class Studio:
    """The collaborators of one job. `work_dir` goes away with the run; what must stay goes to the store."""

    job: Job
    progress: Progress
    store: MediaStore
    voice: VoiceEngine
    voice_model: str
    comfyui: ComfyUIPool
    ffmpeg: FFmpeg
    media: MediaSettings
    work_dir: Path
    public_url: str


@asynccontextmanager
async def open_studio(job: Job, progress: Progress, redis: Redis) -> AsyncIterator[Studio]:
    """Opens the parts that the deployed blocks describe. Raises ConfigurationError."""
    comfyui, voice, media = await asyncio.gather(
        load(ComfyUI, names.COMFYUI_BLOCK),
        load(VoiceService, names.VOICE_BLOCK),
        load(MediaStoreLocation, names.MEDIA_STORE_BLOCK),
    )
    settings = read_group(MediaSettings)
    ffmpeg = FFmpeg.find(settings.ffmpeg)
    with tempfile.TemporaryDirectory(prefix="tabario-") as work_dir:
        async with comfyui.open(redis, RequestMeasures(progress.recorder)) as painter, voice.open(ffmpeg) as speaker:
            yield Studio(
                job=job,
                progress=progress,
                store=media.open(),
                voice=speaker,
                voice_model=f"{voice.model}/{voice.voice}",
                comfyui=painter,
                ffmpeg=ffmpeg,
                media=settings,
                work_dir=Path(work_dir),
                public_url=media.public_url,
            )
