"""What a viewer gets, measured on the finished file: pictures, words, cuts, sound."""

from __future__ import annotations

import random
import shutil
import subprocess
from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import anyio
import pytest
from PIL import Image, ImageChops, ImageDraw

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.ffmpeg.audio import decode_audio, measure_loudness
from tabario.film.companions import make_companions
from tabario.film.motion import choose_motion, window
from tabario.film.stills import Still
from tabario.film.timeline import FPS, lay_out
from tabario.formats import FrameSize
from tabario.records import Companion
from tabario.waveform import SAMPLE_RATE, Waveform
from tests.support.films import grab_frame, speak_evenly
from tests.support.making import FRAME, make_film
from tests.support.sounds import sound

SECONDS = 6.0
WORDS = ["Granite", "bridges", "outlive", "famous", "kings."]
SSIM_WINDOW = 8
DARK, BRIGHT = (4, 4, 4), (240, 240, 240)


def draw_picture(path: Path, seed: int) -> Image.Image:
    """Large and small shapes that no other picture has."""
    chance = random.Random(seed)  # noqa: S311 - a picture
    picture = Image.new("RGB", FRAME, tuple(chance.randrange(60, 200) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, side = chance.randrange(FRAME.width), chance.randrange(FRAME.height), chance.randrange(20, 160)
        draw.rectangle((x, y, x + side, y + side // 2), fill=tuple(chance.randrange(256) for _ in range(3)))
    picture.save(path)
    return picture


def seen_at(picture: Image.Image, index: int, stills: Sequence[Still], second: float) -> Image.Image:
    """The part of a picture that its motion shows at that time, at the frame's size."""
    shots = lay_out(stills, SECONDS)
    shot = shots[index]
    view = window(choose_motion(index), FRAME, length=shot.on_screen)
    on = round(second * FPS) - sum(one.frames for one in shots[:index])
    names = {"on": on, "abs": abs, "mod": lambda a, b: a % b}
    side, x, y = (eval(text, names) / view.square for text in (view.side, view.x, view.y))  # noqa: S307 - our own text
    box = (x * picture.width, y * picture.height, (x + side) * picture.width, (y + side) * picture.height)
    return picture.resize(FRAME, Image.Resampling.BICUBIC, box=box)


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity of the upper halves, where no words are: 1 for the same picture, about 0 for another."""
    half = (0, 0, FRAME.width, FRAME.height // 2)
    small = (FRAME.width // 4, FRAME.height // 8)
    first, second = (image.crop(half).convert("L").resize(small, Image.Resampling.BOX) for image in (one, other))
    values = []
    for left in range(0, small[0] - SSIM_WINDOW, SSIM_WINDOW):
        for top in range(0, small[1] - SSIM_WINDOW, SSIM_WINDOW):
            box = (left, top, left + SSIM_WINDOW, top + SSIM_WINDOW)
            values.append(_similarity(first.crop(box).tobytes(), second.crop(box).tobytes()))
    return fmean(values)


def _similarity(first: bytes, second: bytes) -> float:
    a, b = fmean(first), fmean(second)
    spread = fmean((x - a) ** 2 for x in first), fmean((y - b) ** 2 for y in second)
    together = fmean((x - a) * (y - b) for x, y in zip(first, second, strict=True))
    steady, busy = 6.5, 58.5  # the usual constants for 8 bits
    return ((2 * a * b + steady) * (2 * together + busy)) / ((a * a + b * b + steady) * (sum(spread) + busy))


async def test_the_middle_of_each_scene_shows_its_picture(tmp_path: Path) -> None:
    cuts = [0.0, 1.3, 2.9, 4.2, SECONDS]
    stills = [Still(tmp_path / f"{i}.png", start, end) for i, (start, end) in enumerate(pairwise(cuts))]
    pictures = [draw_picture(still.path, seed) for seed, still in enumerate(stills)]
    await make_film(tmp_path, stills=stills, duration=SECONDS, words=speak_evenly(WORDS, SECONDS))
    for index, still in enumerate(stills):
        middle = (still.start + still.end) / 2
        frame = grab_frame(FFmpeg.find(), tmp_path / "film.mp4", round(middle * FPS))
        likeness = [ssim(frame, seen_at(one, index, stills, middle)) for one in pictures]
        assert likeness[index] > 0.9
        assert all(other < 0.5 for number, other in enumerate(likeness) if number != index)


async def test_cuts_are_within_a_frame_of_the_plan(tmp_path: Path) -> None:
    cuts = [0.0, 1.117, 2.051, 3.333, 4.0]
    stills = [Still(tmp_path / f"{i}.png", start, end) for i, (start, end) in enumerate(pairwise(cuts))]
    for number, still in enumerate(stills):
        Image.new("RGB", FRAME, (200, 30, 30) if number % 2 else (30, 30, 200)).save(still.path)
    await make_film(tmp_path, stills=stills, duration=4.0, words=[])
    red = [frame[0] for frame in top_colours(tmp_path / "film.mp4")]
    found = [number for number in range(1, len(red)) if (red[number - 1] > 115) != (red[number] > 115)]
    assert len(found) == len(cuts) - 2
    assert all(abs(at - round(cut * FPS)) <= 1 for at, cut in zip(found, cuts[1:-1], strict=True))


def top_colours(film: Path) -> list[bytes]:
    """The mean colour of the upper half of each frame: red, green, blue."""
    shrink = "crop=iw:ih/2:0:0,scale=1:1:flags=area,format=rgb24"
    command = [str(FFmpeg.find().binary), "-nostdin", "-loglevel", "error", "-i", str(film), "-vf", shrink]
    done = subprocess.run([*command, "-f", "rawvideo", "pipe:1"], check=True, capture_output=True, timeout=60)
    return [done.stdout[at : at + 3] for at in range(0, len(done.stdout), 3)]


async def test_a_click_is_heard_when_the_flash_is_seen(tmp_path: Path) -> None:
    flash = 2.0
    stills = [Still(tmp_path / "dark.png", 0, flash), Still(tmp_path / "bright.png", flash, 4.0)]
    for still, colour in zip(stills, (DARK, BRIGHT), strict=True):
        Image.new("RGB", FRAME, colour).save(still.path)
    samples = array("h", [0]) * round(4.0 * SAMPLE_RATE)
    for at in range(round(flash * SAMPLE_RATE), round(3.5 * SAMPLE_RATE)):
        samples[at] = 9_000 if at // 100 % 2 else -9_000
    Waveform(samples).write(tmp_path / "click.wav")
    await make_film(tmp_path, stills=stills, duration=4.0, words=[], audio=tmp_path / "click.wav")
    film = tmp_path / "film.mp4"
    seen = next(number for number, frame in enumerate(top_colours(film)) if frame[0] > 120) / FPS
    await decode_audio(FFmpeg.find(), film, tmp_path / "heard.wav")
    heard = next(at for at, value in enumerate(Waveform.read(tmp_path / "heard.wav").samples) if abs(value) > 2_000)
    assert abs(heard / SAMPLE_RATE - seen) < 0.04


async def test_the_highlight_moves_on_with_the_voice(tmp_path: Path) -> None:
    words = speak_evenly(WORDS[:2], 2.0)
    await make_film(tmp_path, duration=2.0, words=words)
    second = round(words[1].start * FPS)
    places = [gold_box(grab_frame(FFmpeg.find(), tmp_path / "film.mp4", second + step)) for step in (-1, 1)]
    assert places[0][2] < places[1][0]


def gold_mask(image: Image.Image) -> Image.Image:
    """White where the highlight's colour is."""
    mask = Image.new("L", image.size, 255)
    for band, value in zip(image.split(), (255, 215, 0), strict=True):
        mask = ImageChops.darker(mask, band.point([255 * (abs(level - value) < 70) for level in range(256)]))
    return mask


def gold_box(image: Image.Image) -> tuple[int, int, int, int]:
    box = gold_mask(image).getbbox()
    assert box is not None
    return box


async def test_spoken_words_can_be_read(tmp_path: Path) -> None:
    tesseract = shutil.which("tesseract")
    if tesseract is None:
        pytest.skip("tesseract is not installed")
    words = speak_evenly(WORDS, SECONDS)
    await make_film(tmp_path, duration=SECONDS, words=words, frame=FrameSize(720, 1280))
    read = []
    for word in words:
        frame = grab_frame(FFmpeg.find(), tmp_path / "film.mp4", round((word.start + word.end) / 2 * FPS))
        page = tmp_path / "page.png"
        ImageChops.invert(gold_mask(frame)).crop((0, 640, 720, 900)).save(page)
        done = await anyio.run_process([tesseract, page, "-", "--psm", "7"])
        read.append(done.stdout.decode().strip())
    assert read == WORDS


async def test_music_is_heard_in_the_pauses_and_steps_back_under_the_voice(tmp_path: Path) -> None:
    sound(3.0, 3.0, 2.0).write(tmp_path / "voice.wav")  # 200 Hz
    tune = array("h", (9_000 if at // 8 % 2 else -9_000 for at in range(2 * SAMPLE_RATE)))  # 3 kHz
    Waveform(tune).write(tmp_path / "tune.wav")
    facts = await make_film(tmp_path, duration=8.0, words=[], audio=tmp_path / "voice.wav", music=tmp_path / "tune.wav")
    assert facts.loudness == pytest.approx(-14, abs=0.5)
    mix = FFmpeg.find()
    tune_only = "highpass=f=2500,highpass=f=2500"
    levels = [
        (await measure_loudness(mix, tmp_path / "film.mp4", after=f"{tune_only},atrim={start}:{end}")).integrated
        for start, end in ((4.0, 6.0), (1.5, 3.0))
    ]
    assert -40 < levels[1] + 4 < levels[0] < -14


async def test_the_poster_and_the_subtitle_files_go_with_the_film(tmp_path: Path) -> None:
    words = speak_evenly(WORDS, 2.0)
    await make_film(tmp_path, duration=2.0, words=words)
    made = await make_companions(FFmpeg.find(), tmp_path / "film.mp4", words, film_seconds=2.0, poster_second=0.5)
    with Image.open(made[Companion.POSTER]) as poster:
        assert (poster.format, poster.size) == ("JPEG", FRAME)
        gold_box(poster.convert("RGB"))
    assert "00:00:00,000 --> " in made[Companion.SRT].read_text(encoding="utf-8")
    assert made[Companion.VTT].read_text(encoding="utf-8").startswith("WEBVTT")
