"""The merge with real ffmpeg on small films."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import anyio
import psutil
import pytest
from PIL import Image, ImageChops

from tabario.clients.ffmpeg import FFmpeg, read_file
from tabario.clients.ffmpeg.audio import measure_loudness
from tabario.errors import MergeFailed
from tabario.film.mp4 import read_mp4
from tabario.film.stills import Still
from tabario.formats import FrameSize, Resolution, VideoFormat, frame_size
from tests.support.films import ffmpegs, grab_frame, hue_of, paint_still, record_voice, speak_evenly
from tests.support.making import DURATION, FRAME, HOSTILE, SCENES, Order, make_film


@pytest.mark.parametrize("binary", ffmpegs(), ids=["bundled", "system"][: len(ffmpegs())])
async def test_the_film_is_what_was_ordered(tmp_path: Path, binary: Path | None) -> None:
    ffmpeg = FFmpeg.find(binary)
    facts = await make_film(tmp_path, ffmpeg=ffmpeg)
    film = tmp_path / "film.mp4"
    found = read_mp4(film)
    assert found.faststart
    assert (found.video.codec, found.audio.codec, found.audio.sample_rate) == ("avc1", "mp4a", 48_000)
    assert (found.video.width, found.video.height) == FRAME == (facts.width, facts.height)
    assert found.video.sample_count == facts.frames == round(DURATION * 30)
    assert found.duration == pytest.approx(DURATION, abs=0.05)
    assert found.audio.duration == pytest.approx(DURATION, abs=0.05)
    described = await ffmpeg.run([*read_file(film), "-frames:v", "1", "-f", "null", "-"], log_level="info")
    assert "yuv420p(tv, bt709" in described
    assert "bt709/unknown" not in described
    loudness = await measure_loudness(ffmpeg, film)
    assert loudness.integrated == pytest.approx(-14, abs=0.5)
    assert loudness.true_peak <= -1
    for index in range(SCENES):
        middle = round((index + 0.5) * facts.frames / SCENES)
        hue = hue_of(grab_frame(ffmpeg, film, middle))
        assert abs((hue - index / SCENES + 0.5) % 1 - 0.5) < 0.03


async def test_a_cut_is_where_the_plan_has_it(tmp_path: Path) -> None:
    await make_film(tmp_path)
    ffmpeg, film = FFmpeg.find(), tmp_path / "film.mp4"
    cut = round(DURATION / SCENES * 30)
    before, after = (hue_of(grab_frame(ffmpeg, film, cut + step)) for step in (-5, 5))
    assert abs((before + 0.5) % 1 - 0.5) < 0.03
    assert after == pytest.approx(1 / SCENES, abs=0.03)


async def test_the_spoken_word_is_highlighted_inside_the_frame(tmp_path: Path) -> None:
    ffmpeg = FFmpeg.find()
    frames = []
    for words in (speak_evenly(HOSTILE, DURATION), []):
        await make_film(tmp_path, words=words)
        frames.append(grab_frame(ffmpeg, tmp_path / "film.mp4", 10))
    box = ImageChops.difference(*frames).convert("L").point(lambda value: 255 * (value > 60)).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert 0.1 * FRAME.width <= left < right <= 0.83 * FRAME.width
    assert 0.5 * FRAME.height < top < bottom <= 0.66 * FRAME.height
    assert count_gold(frames[0]) > 100 > count_gold(frames[1]) == 0


def count_gold(image: Image.Image) -> int:
    """Pixels of the highlight's colour."""
    bands = image.split()
    limits = [(220, 256), (180, 250), (0, 80)]
    masks = [
        band.point(lambda value, low=low, high=high: 255 * (low <= value < high))
        for band, (low, high) in zip(bands, limits, strict=True)
    ]
    return ImageChops.multiply(ImageChops.multiply(masks[0], masks[1]), masks[2]).histogram()[255]


@pytest.mark.parametrize("frame", [FrameSize(854, 480), FrameSize(480, 480)])
async def test_other_shapes_take_pictures_of_any_shape(tmp_path: Path, frame: FrameSize) -> None:
    pictures = [FrameSize(37, 901), FrameSize(1, 1), FrameSize(1300, 200)]
    stills = [paint_still(tmp_path, i, 3, size, 1.0) for i, size in enumerate(pictures)]
    facts = await make_film(tmp_path, stills=stills, duration=1.0, frame=frame)
    assert (facts.width, facts.height, facts.frames) == (*frame, 30)


@pytest.mark.parametrize("resolution", Resolution)
@pytest.mark.parametrize("shape", VideoFormat)
async def test_every_format_is_made_in_every_resolution(
    tmp_path: Path, shape: VideoFormat, resolution: Resolution
) -> None:
    frame = frame_size(shape, resolution)
    facts = await make_film(tmp_path, duration=0.5, frame=frame, stills=[paint_still(tmp_path, 0, 1, frame, 0.5)])
    assert (facts.width, facts.height, facts.frames) == (*frame, 15)


async def test_very_short_scenes_make_a_film(tmp_path: Path) -> None:
    stills = [paint_still(tmp_path, i, 9, FRAME, 2.7) for i in range(9)]
    facts = await make_film(tmp_path, stills=stills, duration=2.7)
    assert facts.frames == 81


async def test_progress_rises_to_one(tmp_path: Path) -> None:
    seen: list[float] = []

    async def keep(share: float) -> None:
        seen.append(share)

    await make_film(tmp_path, duration=2.0, on_progress=keep)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] == 1


async def refused(directory: Path, sentence: str, **order: Unpack[Order]) -> None:
    with pytest.raises(MergeFailed, match=sentence):
        await make_film(directory, **order)
    assert remains(directory) == []


def remains(directory: Path) -> list[Path]:
    """Films that were finished or begun."""
    return [*directory.glob("film.mp4"), *directory.rglob("*.part")]


async def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    still = paint_still(tmp_path, 0, 1, FRAME, DURATION)
    still.path.write_bytes(still.path.read_bytes()[:-40])
    await refused(tmp_path, "picture is damaged", stills=[still])


async def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    still = Still(tmp_path / "huge.png", 0, DURATION)
    Image.new("1", (9_000, 9_000)).save(still.path)
    await refused(tmp_path, "too large", stills=[still])


async def test_silence_is_refused(tmp_path: Path) -> None:
    silent = record_voice(tmp_path / "silent.wav", DURATION, amplitude=0)
    await refused(tmp_path, "silent", audio=silent)


async def test_a_voiceover_of_another_length_is_refused(tmp_path: Path) -> None:
    await refused(tmp_path, "4.21 s were planned", audio=record_voice(tmp_path / "short.wav", 3.0))


@pytest.fixture(params=["100k", "200k"], ids=["at the sound", "at the film"])
def tiny_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system too small for the film's sound, or for the whole film."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", disk], check=False)  # noqa: S607
    if mounted.returncode != 0:
        pytest.skip("mounting is refused here")
    yield disk
    subprocess.run(["umount", disk], check=True)  # noqa: S607


async def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, tiny_disk: Path) -> None:
    await refused(tmp_path, "disk is full", work_dir=tiny_disk)


async def test_cancelling_ends_every_ffmpeg_and_leaves_nothing(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    drawing = anyio.Event()

    async def notice(share: float) -> None:
        if share > 0.05:
            drawing.set()

    async def merge() -> None:
        await make_film(tmp_path, duration=10.0, on_progress=notice)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(merge)
        with anyio.fail_after(60):
            await drawing.wait()
        assert {child.pid for child in psutil.Process().children()} > before
        tasks.cancel_scope.cancel()
    assert {child.pid for child in psutil.Process().children()} == before
    assert remains(tmp_path) == []
