"""Whether the spoken word is seen in a film: without a font ffmpeg burns in nothing, and says nothing.

The words are set once more, on nothing, and the film is looked at in the places where the letters and their outline
should be. A picture may have the highlight's colour or the outline's, but not each where the other should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import to_thread
from PIL import Image, ImageChops, ImageStat

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.burning import Typesetting
from tabario.film.encoding import COLOURS
from tabario.film.frames import grab_frame
from tabario.film.timeline import FPS
from tabario.formats import FrameSize
from tabario.styles.subtitles import SubtitleStyle

_SEEN, _DRAWN = "words-seen.ppm", "words-drawn.ppm"
_GROUNDS: Final = ("black", "white")
_OPAQUE: Final = 12  # of 255; what the ground may change
_COLOUR: Final = 40  # of 255; what half as many pixels for colours may change
_COMPRESSED: Final = 60  # of 255; the same, after compression


@dataclass(frozen=True, slots=True)
class Lettering:
    """What is seen of the words in one frame: pixels of the spoken word, and the share of them that has its colour.

    `outlined` is the share of the outline, or box, that has its own colour.
    """

    pixels: int
    coloured: float
    outlined: float


async def look_at_letters(
    ffmpeg: FFmpeg, film: Path, subtitles: Path, setting: Typesetting, *, frame: int
) -> Lettering:
    """What is seen in that frame of the film, counted from 0, of the words in the ASS file `subtitles`.

    Work files are written beside both. Raises MergeFailed.
    """
    seen, drawn = film.with_name(_SEEN), subtitles.with_name(_DRAWN)
    for path in (seen, drawn):
        path.unlink(missing_ok=True)
    await grab_frame(ffmpeg, film, (frame - 0.5) / FPS, seen)
    if not seen.exists():
        return Lettering(0, 0.0, 0.0)
    with Image.open(seen) as image:
        size = FrameSize(*image.size)
    await ffmpeg.run(
        [
            "-filter_complex",
            _setting(subtitles.name, size, frame),
            "-frames:v",
            "1",
            "-f",
            "image2",
            "-update",
            "1",
            _DRAWN,
        ],
        cwd=subtitles.parent,
        environment=setting.fonts.environment(subtitles.parent),
    )
    return await to_thread.run_sync(_compare, seen, drawn, setting.style)


def _setting(subtitles: str, size: FrameSize, frame: int) -> str:
    """Filters that set the words on black and on white, side by side, as the film does."""
    grounds = [
        f"color={ground}:s={size.width}x{size.height}:r={FPS},format=yuv420p,setpts=PTS+{frame},"
        f"ass={subtitles}[{ground}]"
        for ground in _GROUNDS
    ]
    return ";".join((*grounds, "".join(f"[{ground}]" for ground in _GROUNDS) + f"hstack,{COLOURS}"))


def _compare(seen: Path, drawn: Path, style: SubtitleStyle) -> Lettering:
    with Image.open(seen) as film, Image.open(drawn) as words:
        shown, both = film.convert("RGB"), words.convert("RGB")
    width, height = shown.size
    dark, light = (both.crop((left, 0, left + width, height)) for left in (0, width))
    opaque = _near(ImageChops.difference(dark, light), (0, 0, 0), _OPAQUE)
    word, edge = (ImageChops.darker(opaque, _near(dark, colour, _COLOUR)) for colour in (style.spoken, style.outline))
    return Lettering(
        pixels=word.histogram()[255],
        coloured=_share(_near(shown, style.spoken, _COMPRESSED), word),
        outlined=_share(_near(shown, style.outline, _COMPRESSED), edge),
    )


def _near(image: Image.Image, colour: tuple[int, int, int], most: int) -> Image.Image:
    """White where the image has the colour."""
    found = Image.new("L", image.size, 255)
    for band, value in zip(image.split(), colour, strict=True):
        near = band.point([255 * (abs(level - value) <= most) for level in range(256)])
        found = ImageChops.darker(found, near)
    return found


def _share(found: Image.Image, places: Image.Image) -> float:
    """How much of the places is found; all, when there is none."""
    return ImageStat.Stat(found, places).mean[0] / 255 if places.getbbox() else 1.0
