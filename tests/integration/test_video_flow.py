"""The flow on real parts: Prefect, Redis, the ComfyUI stand-in, the embedded voice, ffmpeg."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from redis.asyncio import Redis

from flows.images import image
from flows.video import generate_video
from flows.voiceover import voiceover
from tabario.cli.deployment import deploy
from tabario.clients.store import MediaStore, open_store
from tabario.film.mp4 import read_mp4
from tabario.jobs import Job, SceneChange
from tabario.metrics.definitions import IMAGE_GENERATION_FAILURES, IMAGES_GENERATED, VOICE_FALLBACKS
from tabario.metrics.ledger import MetricsLedger
from tabario.metrics.series import Observation
from tabario.queue import JobQueue
from tabario.records import Companion, JobRecord, JobRecords, Stage
from tabario.settings import ComfyUISettings, Settings, VoiceEngineName, VoiceSettings
from tests.support.buckets import bucket_running
from tests.support.comfyui import ComfyUIServer, comfyui_running
from tests.support.jobs import new_job, settings_for
from tests.support.limits import no_file_larger_than
from tests.support.servers import PrefectServer, RedisServer, free_port
from tests.support.waiting import eventually

UNSEEN = [{"image_prompt": "a badger with a torch"}, {"image_prompt": "a hare under the moon"}]
"""Prompts of a job that no other test has painted: ComfyUI remembers."""

ONE_SCENE = "The stork comes home."


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
    for task in (voiceover, image):
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
def records(redis: Redis) -> JobRecords:
    return JobRecords(redis)


def store_of(settings: Settings) -> MediaStore:
    return open_store(settings.media)


async def run(job: Job) -> State[Any]:
    state: State[Any] = await generate_video(job, return_state=True)
    return state


async def record_of(records: JobRecords, job: Job) -> JobRecord:
    record = await records.read(job.job_id)
    assert record is not None
    return record


def published_files(settings: Settings) -> list[Path]:
    return list((settings.media.root / "runs").rglob("*.*"))


async def test_a_script_becomes_a_published_film(
    settings: Settings, records: JobRecords, redis: Redis, tmp_path: Path
) -> None:
    await deploy(settings)
    job = new_job()
    await JobQueue(redis).push(job.job_id)

    state = await run(job)

    assert state.type is StateType.COMPLETED
    record = await record_of(records, job)
    assert record.stage is Stage.DONE
    assert record.progress == 1
    assert record.failure is None
    assert record.film is not None
    used = record.receipt
    assert (used.characters_spoken, used.pictures_painted, used.pictures_adopted) == (len(job.spec.script), 2, 0)
    assert used.bytes_stored == record.film.byte_count
    assert used.gpu_seconds > 0
    assert used.stage_seconds.keys() == record.stage_seconds.keys()
    assert min(used.stage_seconds.values()) >= 0
    assert list(record.stage_seconds) == [
        Stage.VOICEOVER,
        Stage.SCENE_PLAN,
        Stage.IMAGES,
        Stage.MERGE,
        Stage.PUBLISH,
    ]
    assert record.film is not None
    film = tmp_path / "film.mp4"
    await store_of(settings).fetch(record.film.film_key, film)
    facts = read_mp4(film)
    assert (facts.video.width, facts.video.height) == (480, 480)
    assert facts.duration == pytest.approx(record.film.duration)
    assert film.stat().st_size == record.film.byte_count
    assert set(record.film.companions) == set(Companion)
    for key in record.film.companions.values():
        assert await store_of(settings).size(key) > 0
    assert await JobQueue(redis).depth() == 0
    assert await shown_artifacts(state) == {
        f"{kind}-{job.job_id}" for kind in ("progress", "pictures", "gate", "film", "receipt")
    }


async def shown_artifacts(state: State[Any]) -> set[str | None]:
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id])),
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])),
        )
    return {artifact.key for artifact in found}


async def test_the_same_job_again_paints_nothing(settings: Settings, comfyui: ComfyUIServer) -> None:
    await deploy(settings)
    await run(new_job())
    painted = comfyui.images_painted()

    again = await run(new_job())

    assert again.type is StateType.COMPLETED
    assert comfyui.images_painted() == painted
    assert await names_of_states(again) == {
        "voiceover": "Cached",
        "scene plan": "Completed",
        "image 01: The fox crosses the frozen river.": "Cached",
        "image 02: An owl watches from the old oak.": "Cached",
        "merge": "Completed",
        "publish": "Completed",
    }


async def names_of_states(state: State[Any]) -> dict[str, str | None]:
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    runs: dict[str, str | None] = {}

    async def are_all_there() -> bool:
        async with get_client() as client:
            found = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
        runs.clear()
        runs.update({run.name: run.state_name for run in found})
        return len(runs) == 6 and all(run.state is not None and run.state.is_final() for run in found)

    await eventually(are_all_there, within=20, what="the events of the task runs have arrived")
    return runs


async def test_one_scene_made_anew_paints_one_picture(settings: Settings, comfyui: ComfyUIServer) -> None:
    await deploy(settings)
    await run(new_job())
    painted = comfyui.images_painted()
    change = SceneChange(seed=99, image_prompt="an owl in a birch")

    state = await run(new_job().model_copy(update={"changes": {2: change}}))

    assert state.type is StateType.COMPLETED
    assert comfyui.images_painted() == painted + 1
    assert await names_of_states(state) == {
        "voiceover": "Cached",
        "scene plan": "Completed",
        "image 01: The fox crosses the frozen river.": "Cached",
        "image 02: An owl watches from the old oak.": "Completed",
        "merge": "Completed",
        "publish": "Completed",
    }


async def assert_failed(
    state: State[Any], record: JobRecord, settings: Settings, *, stage: Stage, message: str
) -> None:
    assert state.type is StateType.FAILED
    assert record.failure is not None
    assert record.failure.stage is stage
    assert message in record.failure.message
    assert state.message == record.failure.message
    assert record.film is None
    assert published_files(settings) == []


async def test_an_absent_comfyui_fails_the_run_with_advice(settings: Settings, records: JobRecords) -> None:
    absent = ComfyUISettings(url=f"http://127.0.0.1:{free_port()}", outage_timeout=0.1)
    await deploy(settings.model_copy(update={"comfyui": absent}))
    job = new_job()

    state = await run(job)

    record = await record_of(records, job)
    await assert_failed(
        state, record, settings, stage=Stage.IMAGES, message="Start ComfyUI or check TABARIO_COMFYUI_URL."
    )


async def test_an_error_inside_comfyui_is_put_on_record(
    settings: Settings, records: JobRecords, comfyui: ComfyUIServer
) -> None:
    await deploy(settings)
    comfyui.arm("node_error", times=99)
    job = new_job(prompts=UNSEEN)

    state = await run(job)

    record = await record_of(records, job)
    await assert_failed(state, record, settings, stage=Stage.IMAGES, message="images: ComfyUI could not paint")
    assert record.failure is not None
    assert (record.failure.code, record.failure.reason) == ("image_failed", "error")


async def test_a_black_picture_is_painted_once_more(
    settings: Settings, records: JobRecords, comfyui: ComfyUIServer
) -> None:
    await deploy(settings)
    comfyui.arm("black_picture", times=1)
    painted = comfyui.images_painted()
    job = new_job(prompts=[{"image_prompt": "a lantern in the snow"}, {"image_prompt": "a heron at dawn"}])

    state = await run(job)

    assert state.type is StateType.COMPLETED
    assert (await record_of(records, job)).film is not None
    assert comfyui.images_painted() == painted + 3


@pytest.mark.parametrize("fault", ["black_picture", "truncated_picture"])
async def test_bad_pictures_of_an_earlier_job_do_not_fail_the_next_one(
    settings: Settings, records: JobRecords, redis: Redis, comfyui: ComfyUIServer, fault: str
) -> None:
    await deploy(settings)
    comfyui.arm(fault, times=2)
    prompts = [{"image_prompt": f"a stork above a chimney, {fault}"}]
    job = new_job(script=ONE_SCENE, prompts=prompts)
    state = await run(job)
    await assert_failed(state, await record_of(records, job), settings, stage=Stage.IMAGES, message="images: ")
    failures = await counted(redis, IMAGE_GENERATION_FAILURES.increment(reason="error"))
    painted = comfyui.images_painted()

    state = await run(new_job(script=ONE_SCENE, prompts=prompts))

    assert state.type is StateType.COMPLETED
    assert comfyui.images_painted() == painted + 1
    assert await counted(redis, IMAGE_GENERATION_FAILURES.increment(reason="error")) == failures


async def test_pictures_cleaned_away_at_comfyui_are_painted_anew(settings: Settings, comfyui: ComfyUIServer) -> None:
    await deploy(settings)
    comfyui.arm("black_picture", times=1)  # so that the file of a second attempt is cleaned away, too
    prompts = [{"image_prompt": "a mole in a garden"}]
    await run(new_job(script=ONE_SCENE, prompts=prompts))
    shutil.rmtree(settings.media.root)
    shutil.rmtree(comfyui.directory / "output")
    painted = comfyui.images_painted()

    state = await run(new_job(script=ONE_SCENE, prompts=prompts))

    assert state.type is StateType.COMPLETED
    assert comfyui.images_painted() == painted + 1


async def test_a_picture_that_could_not_be_stored_is_counted_and_charged_once_when_another_job_adopts_it(
    settings: Settings, records: JobRecords, redis: Redis, comfyui: ComfyUIServer
) -> None:
    await deploy(settings)
    await run(new_job(script=ONE_SCENE, prompts=[{"image_prompt": "an otter in a mill"}]))  # keeps the voiceover
    made, painted = IMAGES_GENERATED.increment(workflow="text2image"), comfyui.images_painted()
    before = await counted(redis, made)
    first, second = (new_job(script=ONE_SCENE, prompts=[{"image_prompt": "a pike in a pond"}]) for _ in range(2))

    with no_file_larger_than(10_000):
        state = await run(first)
    assert state.type is StateType.FAILED
    assert await counted(redis, made) == before
    state = await run(second)

    assert state.type is StateType.COMPLETED
    assert comfyui.images_painted() == painted + 1
    assert await counted(redis, made) == before + 1
    assert (await record_of(records, first)).receipt.gpu_seconds > 0
    assert (await record_of(records, second)).receipt.gpu_seconds == 0


async def counted(redis: Redis, observation: Observation) -> float:
    """What the metric of the observation stands at."""
    ((series, _),) = observation.deltas
    return (await MetricsLedger(redis).read()).values.get(series, 0.0)


async def test_a_dead_voice_service_is_replaced_and_that_is_counted(
    settings: Settings, records: JobRecords, redis: Redis
) -> None:
    dead = VoiceSettings(
        engine=VoiceEngineName.OPENAI,
        fallbacks=(VoiceEngineName.ESPEAK,),
        url=f"http://127.0.0.1:{free_port()}",
    )
    await deploy(settings.model_copy(update={"voice": dead}))
    ((series, _),) = VOICE_FALLBACKS.increment(engine="espeak").deltas
    before = (await MetricsLedger(redis).read()).values.get(series, 0)
    job = new_job(script="Another voice tells it.")

    state = await run(job)

    assert state.type is StateType.COMPLETED
    assert (await record_of(records, job)).film is not None
    assert (await MetricsLedger(redis).read()).values[series] == before + 1


async def test_a_dead_voice_service_fails_the_run_with_advice(settings: Settings, records: JobRecords) -> None:
    dead = VoiceSettings.model_validate(
        {"engine": VoiceEngineName.OPENAI, "url": f"http://127.0.0.1:{free_port()}", "api_key": "sk-not-real"}
    )
    await deploy(settings.model_copy(update={"voice": dead}))
    job = new_job()

    state = await run(job)

    record = await record_of(records, job)
    await assert_failed(
        state, record, settings, stage=Stage.VOICEOVER, message="Start the voice service or check TABARIO_VOICE_URL."
    )
    assert "sk-not-real" not in record.model_dump_json()


async def test_a_full_disk_while_merging_publishes_nothing(settings: Settings, records: JobRecords) -> None:
    await deploy(settings)
    await run(new_job())  # its parts are kept, so that the next job writes in its merge first
    for film in published_files(settings):
        film.unlink()
    job = new_job()

    with no_file_larger_than(100_000):
        state = await run(job)

    record = await record_of(records, job)
    await assert_failed(state, record, settings, stage=Stage.MERGE, message="merge: The disk is full")


async def test_what_one_host_made_serves_another_through_the_bucket(
    settings: Settings, records: JobRecords, comfyui: ComfyUIServer, tmp_path: Path
) -> None:
    with bucket_running(tmp_path) as bucket:
        await deploy(settings.model_copy(update={"media": bucket.settings()}))
        first, second = new_job(prompts=UNSEEN), new_job(prompts=UNSEEN)
        await run(first)
        painted = comfyui.images_painted()

        state = await run(second)  # its work directory is another, and there is no other place to share

        assert state.type is StateType.COMPLETED
        assert comfyui.images_painted() == painted
        record = await record_of(records, second)
        assert record.film is not None
        used = record.receipt
        assert (used.characters_spoken, used.pictures_painted, used.pictures_adopted) == (0, 0, 2)
        store = open_store(bucket.settings())
        assert await store.size(record.film.film_key) == record.film.byte_count
        assert record.voiceover_key is not None
        assert all([await store.exists(key) for key in (record.voiceover_key, *record.image_keys)])
        assert len(record.image_keys) == 2
        assert published_files(settings) == []
