"""The merge against the bare encoder and against the way of others: 8 stills that all zoom and fade, 30 s, 1080x1920.

The unit is CPU seconds, which differ by a quarter within a day: only their ratios tell.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from PIL import Image, ImageChops, ImageDraw
from rich.console import Console

from tabario.clients.ffmpeg import FFmpeg, read_pipe
from tabario.film.burning import Typesetting, write_ass
from tabario.film.encoders import SOFTWARE
from tabario.film.encoding import Materials, draw_arguments
from tabario.film.fonts import Fonts, font_file
from tabario.film.gate import Report
from tabario.film.merge import FilmOrder, merge_film
from tabario.film.motion import Motion
from tabario.film.stills import Still, prepare_picture
from tabario.film.subtitles import group_words
from tabario.film.timeline import FPS, lay_out
from tabario.formats import FrameSize
from tabario.scenes import Word
from tabario.settings import Quality
from tabario.styles.subtitles import DEFAULT_SUBTITLE_STYLE, SUBTITLE_STYLES
from tests.benchmarks.consumption import Consumption, consumption
from tests.benchmarks.figures import Figures, Round
from tests.support.films import record_voice, speak_evenly

FRAME: Final = FrameSize(1080, 1920)
ENCODER: Final = SOFTWARE[Quality.STANDARD]
SETTING: Final = Typesetting(Fonts(), SUBTITLE_STYLES[DEFAULT_SUBTITLE_STYLE], "en")
FADE_SECONDS: Final = 8 / FPS
ROUNDS: Final = 5
PEER_ROUNDS: Final = 3  # one takes several minutes
PEERS: Final = Path(__file__).parent / "peers"
OCTAVE: Final = 12.0  # contrast of an octave of detail, of 255
TEXT: Final = [
    "Every",
    "morning",
    "the",
    "river",
    "carries",
    "another",
    "small",
    "story",
    "past",
    "the",
    "old",
    "stone",
    "bridge",
]


@dataclass(frozen=True)
class Order:
    """What a film is made of, whoever makes it."""

    directory: Path
    stills: list[Still]
    words: list[Word]
    voice: Path
    duration: float


@contextmanager
def ordered(*, scenes: int, duration: float) -> Iterator[Order]:
    """The parts of a film in a directory that goes away."""
    with tempfile.TemporaryDirectory(prefix="tabario-bench-") as name:
        directory = Path(name)
        share = duration / scenes
        stills = [
            Still(paint(directory / f"still-{index:02}.png", seed=index), index * share, (index + 1) * share)
            for index in range(scenes)
        ]
        count = round(duration * 2.5)  # words: a brisk speaker
        words = speak_evenly([TEXT[number % len(TEXT)] for number in range(count)], duration)
        yield Order(directory, stills, words, record_voice(directory / "voice.wav", duration), duration)


def paint(path: Path, *, seed: int) -> Path:
    """Noise with the same contrast in every octave, as photographs have it, in two colours, and some hard edges."""
    chance = random.Random(seed)  # noqa: S311 - a picture
    tint = [tuple(chance.randrange(64) + lightest for _ in range(3)) for lightest in (0, 192)]
    levels = Image.new("L", FRAME, 128)
    for exponent in range(7, -1, -1):
        divisor = 2**exponent
        octave = Image.effect_noise((FRAME.width // divisor + 1, FRAME.height // divisor + 1), OCTAVE)
        levels = ImageChops.add(levels, octave.resize(FRAME, Image.Resampling.BICUBIC), offset=-128)
    picture = Image.composite(Image.new("RGB", FRAME, tint[0]), Image.new("RGB", FRAME, tint[1]), levels)
    draw = ImageDraw.Draw(picture)
    for _ in range(24):
        x, y, side = chance.randrange(FRAME.width), chance.randrange(FRAME.height), chance.randrange(20, 240)
        draw.ellipse((x, y, x + side, y + side), outline=tint[chance.randrange(2)], width=4)
    picture.save(path, compress_level=1)
    return path


def zooming(index: int) -> Motion:
    """Nothing but zooms, which cost more than pans."""
    return Motion.ZOOM_OUT if index % 2 else Motion.ZOOM_IN


async def ours(order: Order) -> Consumption:
    """The whole merge: pictures checked, sound levelled, film encoded and examined."""

    async def ignore(_: float | Report) -> None:
        pass

    with consumption(own_memory=True) as used:
        await merge_film(
            FilmOrder(
                order.stills,
                order.words,
                order.voice,
                duration=order.duration,
                frame=FRAME,
                setting=SETTING,
                motions=zooming,
                encoder=ENCODER,
            ),
            work_dir=order.directory / "merge",
            destination=order.directory / "ours.mp4",
            ffmpeg=FFmpeg.find(),
            on_progress=ignore,
            on_report=ignore,
        )
    return used


@asynccontextmanager
async def frames_of(order: Order) -> AsyncIterator[Path]:
    """The frames of the same film, subtitles included, raw in a file: 3 MB each."""
    path = order.directory / "frames.yuv"
    await _draw_frames(order, path)
    yield path
    path.unlink()


async def _draw_frames(order: Order, path: Path) -> None:
    directory, ffmpeg = order.directory, FFmpeg.find()
    names = []
    for still in order.stills:
        prepare_picture(still.path, directory / (name := f"{still.path.stem}.ppm"), FRAME)
        names.append(name)
    write_ass(order.words, FRAME, SETTING, directory / "words.ass")
    shots = tuple(lay_out(order.stills, order.duration))
    materials = Materials(
        directory,
        FRAME,
        tuple(names),
        shots,
        zooming,
        voice="",
        subtitles="words.ass",
        fonts=SETTING.fonts,
        encoder=ENCODER,
    )
    bare = directory / "bare.yuv"
    with bare.open("wb") as drawn:
        before = None
        for shot in shots:
            await ffmpeg.run(draw_arguments(materials, shot, before), cwd=directory, stdout=drawn.fileno())
            before = shot
    with bare.open("rb") as source, path.open("wb") as target:
        pipe = read_pipe(width=FRAME.width, height=FRAME.height, fps=FPS)
        arguments = [*pipe, "-vf", "ass=words.ass", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
        environment = SETTING.fonts.environment(directory)
        await ffmpeg.run(
            arguments, cwd=directory, stdin=source.fileno(), stdout=target.fileno(), environment=environment
        )
    bare.unlink()


async def bare_encoder(order: Order, frames: Path) -> Consumption:
    """The encoder alone, with the settings of the merge, on frames that are there already; no sound, no checks."""
    with frames.open("rb") as source, consumption(own_memory=False) as used:
        pipe = read_pipe(width=FRAME.width, height=FRAME.height, fps=FPS)
        await FFmpeg.find().run(
            [*pipe, *ENCODER.arguments, "-f", "mp4", f"file:{order.directory / 'bare.mp4'}"], stdin=source.fileno()
        )
    return used


async def moviepy(order: Order, python: Path) -> Consumption:
    """The way of programs on MoviePy, at the same preset."""
    directory = order.directory
    request = {
        "pictures": [str(still.path) for still in order.stills],
        "ends": [still.end for still in order.stills],
        "cues": [{"text": cue.text, "start": cue.start, "end": cue.end} for cue in group_words(order.words)],
        "voice": str(order.voice),
        "font": str(font_file()),
        "size": FRAME,
        "fade": FADE_SECONDS,
        "draft": str(directory / "draft.mp4"),
        "film": str(directory / "peer.mp4"),
    }
    (directory / "order.json").write_text(json.dumps(request), encoding="utf-8")
    with consumption(own_memory=False) as used:
        await anyio.run_process(
            [python, PEERS / "moviepy_film.py", directory / "order.json"], cwd=directory, stderr=None
        )
    return used


@contextmanager
def moviepy_environment() -> Iterator[Path]:
    """A Python with MoviePy, which needs an older Pillow than ours; installed from the package index and removed."""
    with tempfile.TemporaryDirectory(prefix="tabario-peer-") as directory:
        python = Path(directory) / "bin" / "python"
        for arguments in (
            ["venv", "--quiet", "--python", sys.executable, "--clear", directory],
            ["pip", "install", "--quiet", "--python", str(python), "--requirement", str(PEERS / "requirements.txt")],
        ):
            subprocess.run([sys.executable, "-m", "uv", *arguments], check=True)
        yield python


async def take_turns(
    console: Console, order: Order, rounds: int, name: str, other: Callable[[], Awaitable[Consumption]]
) -> list[tuple[Consumption, Consumption]]:
    """Ours and the other, one after the other, so many times; prints what each took."""
    pairs = []
    for number in range(rounds):
        pairs.append((await ours(order), await other()))
        merged, theirs = pairs[-1]
        console.print(
            f"  round {number + 1}: merge {merged.cpu:.1f} CPU s ({merged.wall:.1f} s), "
            f"{name} {theirs.cpu:.1f} CPU s ({theirs.wall:.1f} s), merge / {name} {merged.cpu / theirs.cpu:.3f}"
        )
    merged_peak, other_peak = (max(one.memory for one in side) for side in zip(*pairs, strict=True))
    console.print(f"  peak memory: merge {merged_peak:.0f} MiB, {name} {other_peak:.0f} MiB")
    return pairs


async def merge_vs_encoder(console: Console) -> Figures:
    """Ratio of the CPU time of a whole merge, 8 scenes and 30 s at 1080x1920, to the bare encoder, the limit."""
    with ordered(scenes=8, duration=30.0) as order:
        async with frames_of(order) as frames:
            pairs = await take_turns(console, order, ROUNDS, "encoder", lambda: bare_encoder(order, frames))
    return Figures.of(
        [Round(ours=merged.cpu, limit=bare.cpu, ratio=merged.cpu / bare.cpu) for merged, bare in pairs], unit="CPU s"
    )


async def merge_memory(console: Console) -> Figures:
    """MiB at most while 24 scenes become a film of 180 s, over those while 8 become one of 30 s, the baseline."""
    with ordered(scenes=8, duration=30.0) as order:
        short = await ours(order)
    with ordered(scenes=24, duration=180.0) as order:
        long = await ours(order)
    console.print(f"  the long one: {long.cpu:.1f} CPU s ({long.wall:.1f} s)")
    return Figures.of([Round(ours=long.memory, baseline=short.memory, ratio=long.memory / short.memory)], unit="MiB")


async def merge_vs_peer(console: Console) -> Figures:
    """Ratio of the CPU time of the same merge the MoviePy way to ours."""
    with moviepy_environment() as python, ordered(scenes=8, duration=30.0) as order:
        pairs = await take_turns(console, order, PEER_ROUNDS, "MoviePy", lambda: moviepy(order, python))
    return Figures.of(
        [Round(ours=merged.cpu, baseline=peer.cpu, ratio=peer.cpu / merged.cpu) for merged, peer in pairs],
        unit="CPU s",
    )


BENCHMARKS = {"merge_vs_encoder": merge_vs_encoder, "merge_memory": merge_memory, "merge_vs_peer": merge_vs_peer}
