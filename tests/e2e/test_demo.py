"""The sample job as a newcomer runs it, and the film measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageChops, ImageStat

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.ffmpeg.audio import measure_loudness
from tabario.film.mp4 import read_mp4
from tabario.film.plan import plan_scenes
from tabario.jobs import JobSpec
from tabario.scenes import Scene, Voiceover
from tests.support.films import grab_frame
from tests.support.stack import StackUnderTest
from tests.support.waiting import wait_until

FPS = 30
GRID = (36, 64)
ZOOMS = [1 + step * 0.03 for step in range(14)]


@dataclass(frozen=True)
class Demo:
    """A finished demo: its film, and what the stack knows of it."""

    film: Path
    output: str
    run: dict[str, Any]
    voiceover: Voiceover
    scenes: Sequence[Scene]
    pictures: Sequence[Path]
    audio: Path

    @property
    def user_id(self) -> str:
        return str(self.run["parameters"]["job"]["user_id"])


@pytest.fixture(scope="package")
def demo(stack: StackUnderTest) -> Demo:
    done = stack.run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    film = Path(done.stdout.splitlines()[-1])
    found = httpx.post(
        f"{stack.addresses.prefect_url}/api/flow_runs/filter",
        json={"flow_runs": {"name": {"like_": film.stem}}},
        timeout=20,
    )
    [run] = found.json()
    job = run["parameters"]["job"]
    [words] = [path for path in (stack.state / "media").rglob("voiceover/*.json") if "lighthouse" in path.read_text()]
    voiceover = Voiceover.model_validate_json(words.read_text())
    spec = JobSpec.model_validate(job["spec"])
    scenes = plan_scenes(spec, voiceover.words, voiceover.duration, user_id=job["user_id"])
    pictures = pictures_of(stack, job["job_id"])
    return Demo(film, done.stdout, run, voiceover, scenes, pictures, stack.state / "media" / voiceover.audio_key)


def pictures_of(stack: StackUnderTest, job_id: str) -> list[Path]:
    """What the stand-in painted for a job, in the order of the scenes, by its own log."""
    log = httpx.get(f"http://127.0.0.1:{stack.environment['TABARIO_EMBEDDED_COMFYUI_PORT']}/standin/log", timeout=20)
    painted = [entry["extra_data"] for entry in log.json()["runs"] if entry["extra_data"].get("job_id") == job_id]
    painted.sort(key=lambda entry: int(entry["scene"]))
    return [stack.state / "media" / entry["content_key"] for entry in painted]


def test_demo_shows_progress_and_ends_with_the_path_of_the_film(demo: Demo) -> None:
    assert demo.film.is_file()
    # The voice may be done between two looks.
    for words in ("Painting the pictures", "left", "Putting the film together.", "Done."):
        assert words in demo.output


def test_film_lasts_as_long_as_the_voice(demo: Demo) -> None:
    facts = read_mp4(demo.film)
    assert facts.duration == pytest.approx(demo.voiceover.duration, abs=0.05)
    assert facts.video.duration == pytest.approx(facts.audio.duration, abs=0.05)


def test_film_is_what_phones_play(demo: Demo) -> None:
    facts = read_mp4(demo.film)
    assert (facts.video.codec, facts.video.width, facts.video.height) == ("avc1", 720, 1280)
    assert (facts.audio.codec, facts.audio.sample_rate) == ("mp4a", 48_000)
    assert facts.faststart


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not on PATH: install ffmpeg")
def test_ffprobe_agrees_with_our_reader(demo: Demo) -> None:
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(demo.film)]
    probed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    facts = read_mp4(demo.film)
    video, audio = probed["streams"]
    assert (video["codec_name"], video["pix_fmt"], audio["codec_name"]) == ("h264", "yuv420p", "aac")
    assert float(probed["format"]["duration"]) == pytest.approx(facts.duration, abs=0.03)
    assert int(video["nb_frames"]) == facts.video.sample_count


async def test_film_is_as_loud_as_platforms_want_it(demo: Demo) -> None:
    loudness = await measure_loudness(FFmpeg.find(), demo.film)
    assert loudness.integrated == pytest.approx(-14, abs=1)
    assert loudness.true_peak < -1


def test_there_are_as_many_scenes_as_planned(demo: Demo) -> None:
    assert len(demo.pictures) == len(demo.scenes) > 1
    assert len({path.read_bytes() for path in demo.pictures}) == len(demo.scenes)


def test_each_scene_shows_its_own_picture(demo: Demo) -> None:
    for scene in demo.scenes:
        middle = grab_frame(FFmpeg.find(), demo.film, round((scene.start + scene.end) / 2 * FPS))
        distances = [distance(middle, Image.open(path)) for path in demo.pictures]
        assert distances.index(min(distances)) == scene.index - 1, f"scene {scene.index}: {distances}"


def distance(frame: Image.Image, picture: Image.Image) -> float:
    """How far a frame is from a picture, at the zoom that fits best. 0 is the same."""
    small = frame.convert("L").resize(GRID, Image.Resampling.BOX)
    return min(
        ImageStat.Stat(ImageChops.difference(small, zoomed(picture.convert("L"), zoom))).mean[0] for zoom in ZOOMS
    )


def zoomed(picture: Image.Image, zoom: float) -> Image.Image:
    width, height = picture.width / zoom, picture.height / zoom
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    return picture.resize(GRID, Image.Resampling.BOX, box=(left, top, left + width, top + height))


def test_subtitles_highlight_the_word_that_is_spoken(demo: Demo) -> None:
    first, second = demo.voiceover.words[1:3]
    ffmpeg = FFmpeg.find()
    spoken = [grab_frame(ffmpeg, demo.film, round((word.start + word.end) / 2 * FPS)) for word in (first, second)]
    places = [gold_box(frame) for frame in spoken]
    assert places[0] is not None
    assert places[1] is not None
    assert places[0] != places[1], "the highlight moves on to the next word"
    for left, top, right, bottom in filter(None, places):
        assert left > 20
        assert right < 700
        assert 1280 * 0.5 < top < bottom < 1280 * 0.75, "clear of the platforms' controls"


def gold_box(frame: Image.Image) -> tuple[int, int, int, int] | None:
    """Where the highlight's colour stands."""
    red, green, blue = frame.split()
    mask = ImageChops.multiply(red.point(lambda v: 255 * (v > 200)), green.point(lambda v: 255 * (150 < v < 235)))
    return ImageChops.multiply(mask, blue.point(lambda v: 255 * (v < 70))).getbbox()


def test_operator_finds_the_run_by_tier_user_and_stage(demo: Demo, stack: StackUnderTest) -> None:
    api = f"{stack.addresses.prefect_url}/api"
    assert demo.run["name"] == f"tabario-user-{demo.user_id}-{demo.film.stem}"
    assert "tier:standard" in demo.run["tags"]
    assert demo.user_id not in " ".join(demo.run["tags"])
    tasks = httpx.post(
        f"{api}/task_runs/filter", json={"flow_runs": {"id": {"any_": [demo.run["id"]]}}}, timeout=20
    ).json()
    task_names = {task["name"] for task in tasks}
    assert {"voiceover", "scene plan", "merge", "publish"} <= task_names
    assert sum(name.startswith("image ") for name in task_names) == len(demo.scenes)
    artifacts = httpx.post(
        f"{api}/artifacts/filter", json={"flow_runs": {"id": {"any_": [demo.run["id"]]}}}, timeout=20
    ).json()
    assert {artifact["type"] for artifact in artifacts} == {"progress", "markdown", "table"}
    assert {artifact["key"].split("-")[0] for artifact in artifacts} == {
        "progress",
        "pictures",
        "gate",
        "film",
        "receipt",
    }


def test_owner_and_nobody_else_gets_the_film_in_ranges(demo: Demo, stack: StackUnderTest) -> None:
    video = f"{stack.addresses.api_url}/orchestrate/video/{demo.film.stem}"
    owner = {"Authorization": f"Bearer {stack.run('token', '--user-id', demo.user_id).stdout.strip()}"}
    other = {"Authorization": f"Bearer {stack.run('token').stdout.strip()}"}
    part = httpx.get(video, headers={**owner, "Range": "bytes=100-199"}, timeout=20)
    assert part.status_code == 206
    assert part.content == demo.film.read_bytes()[100:200]
    assert httpx.get(video, headers=other, timeout=20).status_code == 404
    assert httpx.get(video, timeout=20).status_code == 401


def test_token_of_a_job_is_kept_nowhere(stack: StackUnderTest) -> None:
    token = stack.run("token").stdout.strip()
    canary = token.rsplit(".", 1)[1].encode()
    with httpx.Client(
        base_url=stack.addresses.api_url, headers={"Authorization": f"Bearer {token}"}, timeout=30
    ) as app:
        started = app.post("/orchestrate/start", json={"script": "A canary sings.", "caption": "Canary"})
        replies = [started.raise_for_status()]
        status = started.headers["location"]
        wait_until(lambda: app.get(status).json()["film"] is not None, within=240, what="the film is there")
        run = started.json()
        paths = [f"/orchestrate/{path}/{run['run_id']}" for path in ("status", "video", "events")]
        replies += [app.get(path).raise_for_status() for path in paths]
        flow_run = f"{stack.addresses.prefect_url}/api/flow_runs/{run['flow_run_id']}"
        replies += [app.get("/orchestrate/runs"), httpx.get(flow_run, timeout=20)]
    told = b"".join(reply.content + str(reply.headers).encode() for reply in replies)
    files_of_the_stack = [path for path in stack.state.rglob("*") if path.is_file()]
    assert {"prefect.db", "appendonly.aof"} <= {path.name for path in files_of_the_stack}
    assert run["run_id"].encode() in (stack.state / "prefect" / "prefect.db").read_bytes()
    assert canary not in told + stack.output.read_bytes()
    assert [path for path in files_of_the_stack if canary in path.read_bytes()] == []


def test_slot_is_free_again_after_the_film(demo: Demo, stack: StackUnderTest) -> None:
    token = stack.run("token", "--user-id", demo.user_id).stdout.strip()
    slots = httpx.get(
        f"{stack.addresses.api_url}/orchestrate/slots", headers={"Authorization": f"Bearer {token}"}, timeout=20
    )
    assert slots.json()["active"] == []


def test_same_script_by_the_same_user_paints_nothing_again(demo: Demo, stack: StackUnderTest) -> None:
    token = stack.run("token", "--user-id", demo.user_id).stdout.strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with httpx.Client(base_url=stack.addresses.api_url, headers=headers, timeout=30) as app:
        body = (files("tabario.cli") / "sample_job.json").read_text(encoding="utf-8")
        run = app.post("/orchestrate/start", content=body).raise_for_status().json()

        def has_film() -> bool:
            status = app.get(f"/orchestrate/status/{run['run_id']}").json()
            assert status["failure"] is None, status
            return status["film"] is not None

        wait_until(has_film, within=240, what="the second film is there")
    found = httpx.get(f"{stack.addresses.prefect_url}/api/flow_runs/{run['flow_run_id']}", timeout=20).json()
    assert pictures_of(stack, found["parameters"]["job"]["job_id"]) == []
