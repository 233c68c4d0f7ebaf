"""What a job finds of earlier work, and what it does when some of that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from redis.asyncio import Redis

from flows.images import image
from flows.merge import film
from flows.video import generate_video
from flows.voiceover import voiceover
from tabario.cli.deployment import deploy
from tabario.clients.store import MediaStore, open_store
from tabario.jobs import Job, SceneChange
from tabario.records import JobRecord, JobRecords
from tabario.settings import ComfyUISettings, Settings, VoiceEngineName, VoiceSettings
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.jobs import new_job, settings_for
from tests.support.servers import PrefectServer, RedisServer, free_port
from tests.support.sounds import sound
from tests.support.voices import Answer, voice_service_running


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    with comfyui_running(tmp_path_factory.mktemp("comfyui")) as server:
        yield server


@pytest.fixture(autouse=True)
def prefect_at(prefect_server: PrefectServer) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        yield


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TABARIO_STATE_DIR", str(tmp_path / "state"))
    for task in (voiceover, image, film):
        monkeypatch.setattr(task, "retry_delay_seconds", [0.01] * 3)


@pytest.fixture
def settings(
    prefect_server: PrefectServer, redis_server: RedisServer, comfyui: ComfyUIServer, tmp_path: Path
) -> Settings:
    comfyui.disarm()
    return settings_for(
        prefect_url=prefect_server.api_url,
        redis_url=f"{redis_server.url[:-1]}5",
        directory=tmp_path,
        comfyui=ComfyUISettings(url=comfyui.url),
    )


@pytest.fixture
def store(settings: Settings) -> MediaStore:
    return open_store(settings.media)


@pytest.fixture
def answer(tmp_path: Path) -> Answer:
    """What a voice service says, much more slowly than the embedded voice."""
    sound(5.0, 0.3, 6.0).write(tmp_path / "answer.wav")
    return Answer((tmp_path / "answer.wav").read_bytes())


def speaking_at(settings: Settings, url: str) -> Settings:
    """The same with a voice service, and the embedded voice in reserve."""
    voice = VoiceSettings(engine=VoiceEngineName.OPENAI, fallbacks=(VoiceEngineName.ESPEAK,), url=url)
    return settings.model_copy(update={"voice": voice})


def absent(settings: Settings) -> Settings:
    """The same with a voice service that is down."""
    return speaking_at(settings, f"http://127.0.0.1:{free_port()}")


def job_of(name: str) -> Job:
    """A job that no other test has: ComfyUI remembers. Its scenes are planned by the times of the words."""
    return new_job(script=f"The {name} fox crosses the frozen river. An owl watches from the old oak.", prompts=[])


def changed(job: Job, *, told: bool = True) -> Job:
    """A job that makes the first scene of this one anew, and may be told which job it changes."""
    change = SceneChange(seed=99, image_prompt=f"a fox for {job.job_id}")
    fields = {"changes": {1: change}, "remakes": job.job_id if told else None}
    return new_job().model_copy(update={"spec": job.spec, **fields})


async def run(job: Job) -> State[Any]:
    state: State[Any] = await generate_video(job, return_state=True)
    return state


async def record_of(redis: Redis, job: Job) -> JobRecord:
    record = await JobRecords(redis).read(job.job_id)
    assert record is not None
    return record


async def test_a_resumed_job_keeps_the_voice_of_a_fallback(
    settings: Settings, comfyui: ComfyUIServer, redis: Redis, answer: Answer
) -> None:
    await deploy(absent(settings))
    job = job_of("red")
    await run(job)
    before, painted = await record_of(redis, job), comfyui.images_painted()

    async with voice_service_running(answer) as service:
        await deploy(speaking_at(settings, service.url))
        state = await run(job)

    assert state.type is StateType.COMPLETED
    assert service.received == []
    assert comfyui.images_painted() == painted
    assert (await record_of(redis, job)).image_keys == before.image_keys


async def test_a_scene_made_anew_keeps_the_voice_of_a_fallback(
    settings: Settings, comfyui: ComfyUIServer, answer: Answer
) -> None:
    await deploy(absent(settings))
    job = job_of("brown")
    await run(job)
    painted = comfyui.images_painted()

    async with voice_service_running(answer) as service:
        await deploy(speaking_at(settings, service.url))
        state = await run(changed(job, told=False))

    assert state.type is StateType.COMPLETED
    assert service.received == []
    assert comfyui.images_painted() == painted + 1


async def test_a_scene_made_anew_keeps_the_voice_of_its_film_although_another_one_is_kept(
    settings: Settings, comfyui: ComfyUIServer, redis: Redis, answer: Answer
) -> None:
    await deploy(absent(settings))
    job = job_of("white")
    later, remade = new_job().model_copy(update={"spec": job.spec}), changed(job)
    await run(job)

    async with voice_service_running(answer) as service:
        await deploy(speaking_at(settings, service.url))
        await run(later)
        painted = comfyui.images_painted()
        await run(remade)

    assert len(service.received) == 1
    assert comfyui.images_painted() == painted + 1
    voices = [(await record_of(redis, one)).voiceover_key for one in (job, later, remade)]
    assert voices[0] == voices[2] != voices[1]


async def test_a_voiceover_without_its_sound_is_spoken_again(
    settings: Settings, store: MediaStore, redis: Redis
) -> None:
    await deploy(settings)
    first, second = job_of("deaf"), job_of("deaf")
    await run(first)
    key = (await record_of(redis, first)).voiceover_key
    assert key is not None
    await store.remove(key)

    state = await run(second)

    assert state.type is StateType.COMPLETED
    assert await store.exists(key)


async def test_a_picture_that_is_gone_at_the_merge_is_painted_again(
    settings: Settings, store: MediaStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(settings)
    job = job_of("lost")
    await run(job)
    record = await record_of(redis, job)
    fetch = MediaStore.fetch

    async def pruned_before(self: MediaStore, key: str, destination: Path) -> None:
        """The pruning takes the first picture while the voiceover is fetched."""
        if key == record.voiceover_key:
            await self.remove(record.image_keys[0])
        await fetch(self, key, destination)

    monkeypatch.setattr(MediaStore, "fetch", pruned_before)
    state = await run(job_of("lost"))

    assert state.type is StateType.COMPLETED
    assert await store.exists(record.image_keys[0])


async def test_a_voiceover_that_is_gone_at_the_merge_is_for_later(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(settings)
    first, second, third = (job_of("mute") for _ in range(3))
    await run(first)
    key = (await record_of(redis, first)).voiceover_key
    assert key is not None
    fetch = MediaStore.fetch

    async def pruned_before(self: MediaStore, wanted: str, destination: Path) -> None:
        if wanted == key:
            await self.remove(key)
        await fetch(self, wanted, destination)

    with monkeypatch.context() as patch:
        patch.setattr(MediaStore, "fetch", pruned_before)
        await run(second)
    failure = (await record_of(redis, second)).failure
    assert failure is not None
    assert failure.code == "unavailable"
    assert (await run(third)).type is StateType.COMPLETED
