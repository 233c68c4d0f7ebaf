"""The first stage: the script is spoken."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

from prefect import task
from prefect.client.schemas.objects import State

from flows.measures import timed_voiceover
from flows.stages import ended, options, result_of, try_id
from flows.studio import Studio
from tabario.clients.store import MediaStore
from tabario.clients.voice import Speech, VoiceEngine
from tabario.content import content_key
from tabario.errors import NotFound
from tabario.film.alignment import SHORTEST_PAUSE, align
from tabario.jobs import JobSpec
from tabario.metrics.definitions import VOICE_FALLBACKS
from tabario.records import Stage
from tabario.scenes import Voiceover, Word
from tabario.settings import VoiceEngineName
from tabario.waveform import Waveform

_SOUND: Final = ".wav"
_WORDS: Final = ".json"


async def speak(studio: Studio) -> Voiceover:
    """The spoken script and the time of each of its words."""
    async with studio.progress.stage(Stage.VOICEOVER, "Speaking the script."):
        spoken = await result_of(voiceover(studio))
        studio.progress.spoken(spoken)
        return spoken


@task(name="voiceover", task_run_name="voiceover", **options())
async def voiceover(studio: Studio) -> State[Voiceover]:
    """Adopts the voiceover of the same script and voice, or records it."""
    kept = await find_voiceover(studio)
    if kept is not None:
        return ended(kept, cached=True)
    async with timed_voiceover(studio.progress.recorder, try_id()):
        return ended(await record_voiceover(studio), cached=False)


async def find_voiceover(studio: Studio) -> Voiceover | None:
    """The voiceover that was recorded before, if any, whole and young enough to outlive this job.

    A job that is resumed, or that changes another one's film, keeps the voice it had, whichever engine spoke: another
    voice takes other times, so that scenes and pictures would be others, too.
    """
    for key in candidate_keys(studio):
        found = await _adopt(studio.store, key)
        if found is not None:
            return found
    return None


def candidate_keys(studio: Studio) -> list[str]:
    """Where the words of a voiceover that would do may be kept, the best first."""
    on_record = studio.progress.voiceover_key
    engines = [studio.voice.name, *(VoiceEngineName if studio.job.changes else ())]
    return [
        *([on_record.removesuffix(_SOUND) + _WORDS] if on_record else []),
        *dict.fromkeys(voiceover_key(studio, _WORDS, engine) for engine in engines),
    ]


async def _adopt(store: MediaStore, key: str) -> Voiceover | None:
    """The voiceover whose words are under the key, if its sound is there, too."""
    try:
        if await store.adopt(key):
            spoken = Voiceover.model_validate_json(await store.read_bytes(key))
            return spoken if await store.adopt(spoken.audio_key) else None
    except NotFound:  # pruned a moment ago
        pass
    return None


async def record_voiceover(studio: Studio) -> Voiceover:
    """Speaks the script; keeps the WAV and then, as the sign that both are there, the words.

    What a fallback spoke is kept under that engine's name: the next job asks the chosen engine again.
    """
    path = studio.work_dir / "voiceover.wav"
    speech = await speak_to(path, studio.job.spec, studio.voice)
    engine = speech.engine or studio.voice.name
    if speech.engine is not None:
        await studio.progress.recorder.record(f"{try_id()}:voice", VOICE_FALLBACKS.increment(engine=engine))
    studio.progress.charge(characters_spoken=len(studio.job.spec.script))
    audio_key = voiceover_key(studio, _SOUND, engine)
    spoken = Voiceover(audio_key=audio_key, duration=speech.duration, words=speech.words or (), engine=engine)
    await studio.store.put(audio_key, path)
    await studio.store.put_bytes(voiceover_key(studio, _WORDS, engine), spoken.model_dump_json().encode())
    return spoken


async def speak_to(path: Path, spec: JobSpec, voice: VoiceEngine) -> Speech:
    """Writes the WAV; the words are aligned here when the engine gives no times."""
    speech = await voice.speak(spec.script, language=spec.language, voice_id=spec.voice_id, destination=path)
    if speech.words is not None:
        return speech
    return replace(speech, words=await asyncio.to_thread(_align, path, spec.script, speech.duration))


def voiceover_key(studio: Studio, suffix: str, engine: str) -> str:
    """Where the voiceover of this script in the voice of this engine is kept."""
    spec = studio.job.spec
    return content_key(
        "voiceover",
        studio.job.user_id,
        suffix,
        script=spec.script,
        language=spec.language,
        voice_id=spec.voice_id,
        engine=engine,
        model=studio.voice_model,
    )


def _align(path: Path, script: str, duration: float) -> tuple[Word, ...]:
    return align(script, duration, pauses=Waveform.read(path).pauses(shortest=SHORTEST_PAUSE))
