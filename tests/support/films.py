"""Test media that say what they are: pictures of one hue each, a voice of shaped noise, frames taken out of films."""

from __future__ import annotations

import colorsys
import io
import random
import shutil
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.stills import Still
from tabario.formats import FrameSize
from tabario.scenes import Word


def ffmpegs() -> list[Path | None]:
    """The bundled ffmpeg (None), and the system's where there is one."""
    system = shutil.which("ffmpeg")
    return [None, *([Path(system)] if system else [])]


def paint_still(directory: Path, index: int, count: int, size: FrameSize, duration: float) -> Still:
    """A plain picture whose hue is its place among `count`, shown for its equal share of the film."""
    path = directory / f"still-{index}.png"
    Image.new("RGB", size, _colour(index / count)).save(path)
    return Still(path, start=index * duration / count, end=(index + 1) * duration / count)


def hue_of(image: Image.Image) -> float:
    """Hue of the picture's upper third, from 0 to 1; subtitles stand lower."""
    top = image.crop((0, 0, image.width, image.height // 3)).resize((1, 1), Image.Resampling.BOX)
    pixel = top.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    red, green, blue = (value / 255 for value in pixel[:3])
    return colorsys.rgb_to_hsv(red, green, blue)[0]


def record_voice(path: Path, duration: float, *, amplitude: float = 0.1) -> Path:
    """A 48 kHz mono 16-bit WAV of noise that swells and fades like syllables."""
    noise = random.Random(7)  # noqa: S311 - test sound
    samples = bytearray()
    for number in range(round(duration * 48_000)):
        swell = abs((number % 12_000) / 6_000 - 1)
        value = int(32_767 * amplitude * swell * noise.uniform(-1, 1))
        samples += value.to_bytes(2, "little", signed=True)
    with wave.open(str(path), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(48_000)
        audio.writeframes(bytes(samples))
    return path


def speak_evenly(texts: Sequence[str], duration: float) -> list[Word]:
    """The words spread evenly over the film."""
    share = duration / len(texts)
    return [Word(text=text, start=i * share, end=(i + 0.9) * share) for i, text in enumerate(texts)]


def grab_frame(ffmpeg: FFmpeg, film: Path, number: int) -> Image.Image:
    """One frame of a film, counted from 0."""
    command = [str(ffmpeg.binary), "-nostdin", "-loglevel", "error", "-i", str(film), "-vf", f"select=eq(n\\,{number})"]
    output = ["-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "pipe:1"]
    done = subprocess.run([*command, *output], check=True, capture_output=True, timeout=60)
    return Image.open(io.BytesIO(done.stdout)).convert("RGB")


def _colour(hue: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.8, 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)
