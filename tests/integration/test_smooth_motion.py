"""Motion without trembling: a soft spot is tracked through the frames that ffmpeg draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest
from PIL import Image

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.encoders import SOFTWARE
from tabario.film.encoding import Materials, draw_arguments
from tabario.film.fonts import Fonts
from tabario.film.motion import Motion, Window, window
from tabario.film.stills import Still, prepare_picture
from tabario.film.timeline import lay_out
from tabario.formats import FrameSize
from tabario.settings import Quality

FRAME = FrameSize(720, 1280)
SPOT = (200, 330)  # of the picture, in pixels; nothing in the frame stands still here
FRAMES = 120
REACH = 36  # pixels around the spot


def paint_spot(path: Path) -> None:
    """A soft blue spot on grey: it is seen in the light and in the colours."""
    picture = Image.new("RGB", FRAME, (90, 90, 90))
    for x in range(SPOT[0] - REACH, SPOT[0] + REACH):
        for y in range(SPOT[1] - REACH, SPOT[1] + REACH):
            glow = math.exp(-((x + 0.5 - SPOT[0]) ** 2 + (y + 0.5 - SPOT[1]) ** 2) / 200)
            picture.putpixel((x, y), (90, 90 + round(60 * glow), 90 + round(160 * glow)))
    picture.save(path)


async def draw(directory: Path, motion: Motion) -> Iterator[tuple[Image.Image, Image.Image]]:
    """The light and the blue of each frame."""
    paint_spot(directory / "spot.png")
    prepare_picture(directory / "spot.png", directory / "spot.ppm", FRAME)
    [shot] = lay_out([Still(directory / "spot.png", 0, FRAMES / 30)], FRAMES / 30)
    materials = Materials(
        directory, FRAME, ("spot.ppm",), (shot,), lambda _: motion, "", "", Fonts(), SOFTWARE[Quality.STANDARD]
    )
    raw = directory / "raw.yuv"
    with raw.open("wb") as file:
        await FFmpeg.find().run(draw_arguments(materials, shot, None), cwd=directory, stdout=file.fileno())
    return planes(raw.read_bytes())


def planes(raw: bytes) -> Iterator[tuple[Image.Image, Image.Image]]:
    light, colour = FRAME.width * FRAME.height, FRAME.width * FRAME.height // 4
    half = (FRAME.width // 2, FRAME.height // 2)
    for at in range(0, len(raw), light + 2 * colour):
        yield (
            Image.frombytes("L", FRAME, raw[at : at + light]),
            Image.frombytes("L", half, raw[at + light : at + light + colour]),
        )


def centre(plane: Image.Image, near: tuple[float, float], reach: int) -> tuple[float, float]:
    """The spot's centre of gravity around a place, in pixels of the plane."""
    left, top = (round(value) - reach for value in near)
    around = plane.crop((left, top, left + 2 * reach, top + 2 * reach))
    ground = plane.getpixel((left, top))
    assert isinstance(ground, int)
    weights = [max(0, value - ground - 1) for value in around.tobytes()]
    total = sum(weights)
    x = sum(weight * (index % (2 * reach)) for index, weight in enumerate(weights)) / total
    y = sum(weight * (index // (2 * reach)) for index, weight in enumerate(weights)) / total
    return left + x + 0.5, top + y + 0.5


def expected(view: Window, on: int) -> tuple[float, float]:
    """Where the spot is when the window is exactly what it says."""
    names = {"on": on, "abs": abs, "mod": lambda a, b: a % b}
    side, x, y = (eval(text, names) for text in (view.side, view.x, view.y))  # noqa: S307 - our own text
    at = [place / length * (view.square + 2) for place, length in zip(SPOT, FRAME, strict=True)]
    return (at[0] - x) / side * FRAME.width, (at[1] - y) / side * FRAME.height


@pytest.mark.parametrize("motion", [Motion.ZOOM_IN, Motion.ZOOM_OUT, Motion.PAN_RIGHT, Motion.PAN_UP])
async def test_a_tracked_spot_does_not_tremble(tmp_path: Path, motion: Motion) -> None:
    view = window(motion, FRAME, length=FRAMES)
    errors: dict[str, list[tuple[float, float]]] = {"light": [], "colour": []}
    for on, (light, blue) in enumerate(await draw(tmp_path, motion)):
        x, y = expected(view, on)
        found = centre(light, (x, y), REACH)
        errors["light"].append((found[0] - x, found[1] - y))
        found = centre(blue, (x / 2, y / 2), REACH // 2)
        errors["colour"].append((2 * found[0] - x, 2 * found[1] - y))
    assert len(errors["light"]) == FRAMES
    for name, seen in errors.items():
        means = [fmean(values) for values in zip(*seen, strict=True)]
        rms = math.sqrt(fmean((a - means[0]) ** 2 + (b - means[1]) ** 2 for a, b in seen))
        print(f"{motion.value}, {name}: {rms:.4f} px")  # noqa: T201 - shown by pytest -s
        assert rms < 0.05
