"""Motion over a still picture: a window that moves by whole pixels in each frame.

ffmpeg's zoompan rounds its window to whole pixels, which is seen as trembling and costs the encoder bits. So each
picture is first stretched to a large square, and the window's side and corner are whole numbers of the square's pixels
in every frame by construction. The stretch undoes itself when the window is scaled to the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from tabario.formats import FrameSize

_SQUARES: Final = (1440, 2160)
"""Sides in pixels. At two pixels a frame a zoom runs at 4.2 or 2.8 % a second; the small one is drawn faster."""

_REACH: Final = 9
"""A movement turns back after a ninth of the square's side in frames. The window's side is then 7/9, which is sharp."""

_PLANES: Final = "yuv"


class Motion(Enum):
    """How the window moves. A zoom keeps the centre, a pan the scale."""

    ZOOM_IN = "zoom in"
    ZOOM_OUT = "zoom out"
    PAN_RIGHT = "pan right"
    PAN_LEFT = "pan left"
    PAN_DOWN = "pan down"
    PAN_UP = "pan up"


_ORDER: Final = (
    Motion.ZOOM_IN,
    Motion.ZOOM_OUT,
    Motion.PAN_RIGHT,
    Motion.ZOOM_IN,
    Motion.PAN_UP,
    Motion.ZOOM_OUT,
    Motion.PAN_LEFT,
    Motion.PAN_DOWN,
)


def choose_motion(index: int) -> Motion:
    """The motion of a scene, by its place in the film counted from 0. Two scenes in a row never move alike."""
    return _ORDER[index % len(_ORDER)]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a square that is seen: its side and left upper corner as ffmpeg expressions of the frame number `on`.

    `square` is the side of the square in pixels.
    """

    square: int
    side: str
    x: str
    y: str


def window(motion: Motion, frame: FrameSize, *, length: int, first: int = 0) -> Window:
    """The window of a scene that is on screen for `length` frames, seen from its frame `first` on.

    A scene that lasts longer than the movement's reach goes forth and back.
    """
    square = _choose_square(frame, length)
    reach = square // _REACH
    now = f"(on+{first})"
    forth, back = _swing(now, reach), _swing(f"({length - 1}-{now})", reach)
    way = 2 * min(length - 1, reach)
    still, pan = str(way // 2), str(square - way)
    match motion:
        case Motion.ZOOM_IN:
            return Window(square, f"{square}-2*{forth}", forth, forth)
        case Motion.ZOOM_OUT:
            return Window(square, f"{square}-2*{back}", back, back)
        case Motion.PAN_RIGHT:
            return Window(square, pan, f"2*{forth}", still)
        case Motion.PAN_LEFT:
            return Window(square, pan, f"2*{back}", still)
        case Motion.PAN_DOWN:
            return Window(square, pan, still, f"2*{forth}")
        case Motion.PAN_UP:
            return Window(square, pan, still, f"2*{back}")


def _choose_square(frame: FrameSize, length: int) -> int:
    """The smallest square that holds the frame's detail and room for the whole movement, else the largest."""
    fitting = (square for square in _SQUARES if max(frame) <= square and length <= square // _REACH)
    return next(fitting, _SQUARES[-1])


def _swing(frame: str, reach: int) -> str:
    """Counts 0, 1, ... reach and back again."""
    return f"({reach}-abs(mod({frame},{2 * reach})-{reach}))"


def moving_planes(  # noqa: PLR0913 - what a filter graph is made of
    source: str, name: str, view: Window, *, frames: int, size: FrameSize, fps: int
) -> str:
    """Filters from picture `source` to three gray planes `[{name}y]`, `[{name}u]`, `[{name}v]` of `frames` frames.

    Colours become bt709, limited range. The planes travel alone because zoompan would round the window to even pixels
    for 4:2:0, and because cross-fading them needs no conversion. Colour comes from a square of full size too: on half
    of it every other window falls between pixels, and six test pictures drawn so made files 25 to 42 % larger.
    """
    split = "".join(f"[{name}{plane}0]" for plane in _PLANES)
    still = (
        f"{source}scale={view.square}:{view.square}:flags=bicubic:out_color_matrix=bt709:out_range=tv,"
        f"format=yuv444p,extractplanes=y+u+v{split}"
    )
    # zoompan cuts off decimals: 0.01 more than the side keeps it from losing a pixel.
    zoom = f"z='{view.square}/({view.side}+0.01)':x='{view.x}':y='{view.y}':d={frames}:fps={fps}"
    chroma = FrameSize(size.width // 2, size.height // 2)
    moves = [
        f"[{name}{plane}0]zoompan={zoom}:s={area.width}x{area.height}[{name}{plane}]"
        for plane, area in zip(_PLANES, (size, chroma, chroma), strict=True)
    ]
    return ";".join((still, *moves))


def joined_planes(first: str, second: str | None, *, fade: float) -> str:
    """Filters from the planes of one or two pictures to `[frame]` in yuv420p; the first fades into the second.

    `fade` is in seconds and begins at once.
    """
    merge = "mergeplanes=map0s=0:map0p=0:map1s=1:map1p=0:map2s=2:map2p=0:format=yuv420p[frame]"
    if second is None:
        return "".join(f"[{first}{plane}]" for plane in _PLANES) + merge
    fades = [
        f"[{first}{plane}][{second}{plane}]xfade=duration={round(fade * 1_000_000)}us:offset=0[{plane}]"
        for plane in _PLANES
    ]
    return ";".join((*fades, "".join(f"[{plane}]" for plane in _PLANES) + merge))
