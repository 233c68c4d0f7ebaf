"""Motion over a still picture: a window that moves by whole pixels in each frame.

ffmpeg's zoompan rounds its window to whole pixels, which is seen as trembling and costs the encoder bits. So each
picture is first stretched to a large square, and the window's side and corner are whole numbers of the square's pixels
in every frame by construction. The stretch undoes itself when the window is scaled to the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from tabario.formats import FrameSize

_SQUARES: Final = (1440, 1920, 2160)
"""Sides in pixels. At two pixels a frame a zoom runs at 4.2, 3.1 or 2.8 % a second; the small ones are drawn faster."""

_REACH: Final = 9
"""A movement turns back after a ninth of the square's side in frames. The window's side is then 7/9, which is sharp."""

LONGEST_RETURN: Final = 2 * _SQUARES[-1] // _REACH
"""Frames after which every movement is where it began, at the latest."""

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
    """The usual motion of a scene, by its place in the film counted from 0. Two scenes in a row never move alike."""
    return _ORDER[index % len(_ORDER)]


def motions_from(index: int, before: Motion | None) -> list[Motion]:
    """Every motion, from the usual one of that place on, and last of all that of the scene before."""
    motions = dict.fromkeys(choose_motion(index + step) for step in range(len(_ORDER)))
    return sorted(motions, key=lambda motion: motion is before)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a square that is seen: its side and left upper corner as ffmpeg expressions of the frame number `on`.

    `square` is the side of the square in pixels. The window's side is even; its corner is even in every frame,
    or odd in every other one: `parities` has them in the order in which they repeat.
    """

    square: int
    side: str
    x: str
    y: str
    parities: tuple[int, ...] = (0,)


class Place(NamedTuple):
    """Where a window is in one frame, in shares of the square: its side and left upper corner."""

    side: float
    x: float
    y: float


def place(motion: Motion, frame: FrameSize, *, length: int, on: int) -> Place:
    """Where `window` is in frame `on`, for those who look at the picture without ffmpeg."""
    square = _choose_square(frame, length)
    reach = square // _REACH
    forth, back = (reach - abs(now % (2 * reach) - reach) for now in (on, length - 1 - on))
    way = 2 * min(length - 1, reach)
    still, pan = way // 4 * 2, square - way
    side, x, y = {
        Motion.ZOOM_IN: (square - 2 * forth, forth, forth),
        Motion.ZOOM_OUT: (square - 2 * back, back, back),
        Motion.PAN_RIGHT: (pan, 2 * forth, still),
        Motion.PAN_LEFT: (pan, 2 * back, still),
        Motion.PAN_DOWN: (pan, still, 2 * forth),
        Motion.PAN_UP: (pan, still, 2 * back),
    }[motion]
    return Place(side / square, x / square, y / square)


def window(motion: Motion, frame: FrameSize, *, length: int, first: int = 0) -> Window:
    """The window of a scene that is on screen for `length` frames, seen from its frame `first` on.

    A scene that lasts longer than the movement's reach goes forth and back.
    """
    square = _choose_square(frame, length)
    reach = square // _REACH
    now = f"(on+{first})"
    forth, back = _swing(now, reach), _swing(f"({length - 1}-{now})", reach)
    way = 2 * min(length - 1, reach)
    still, pan = str(way // 4 * 2), str(square - way)
    match motion:
        case Motion.ZOOM_IN:
            return Window(square, f"{square}-2*{forth}", forth, forth, _alternating(first))
        case Motion.ZOOM_OUT:
            return Window(square, f"{square}-2*{back}", back, back, _alternating(length - 1 - first))
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


def _alternating(start: int) -> tuple[int, int]:
    """Whether a count that goes up or down by one is odd, now and next."""
    return start % 2, (start + 1) % 2


def _swing(frame: str, reach: int) -> str:
    """Counts 0, 1, ... reach and back again."""
    return f"({reach}-abs(mod({frame},{2 * reach})-{reach}))"


def moving_planes(  # noqa: PLR0913 - what a filter graph is made of
    source: str, name: str, view: Window, *, frames: int, size: FrameSize, fps: int
) -> str:
    """Filters from picture `source` to three gray planes `[{name}y]`, `[{name}u]`, `[{name}v]` of `frames` frames.

    Colours become bt709, limited range. The planes travel alone because zoompan would round the window to even pixels
    for 4:2:0, and because cross-fading them needs no conversion.
    """
    split = "".join(f"[{name}{plane}0]" for plane in _PLANES)
    stretched = view.square + 2  # room for chroma from odd pixels; the edge is cut off again
    still = (
        f"{source}scale={stretched}:{stretched}:flags=bicubic:out_color_matrix=bt709:out_range=tv,"
        f"format=yuv444p,extractplanes=y+u+v{split}"
    )
    light = f"[{name}y0]{_crop(view, 0)},{_zoom(view, 1, frames)}:s={size.width}x{size.height}:fps={fps}[{name}y]"
    colours = [
        _moving_colour(f"{name}{plane}", view, frames=frames, size=f"{size.width // 2}x{size.height // 2}", fps=fps)
        for plane in _PLANES[1:]
    ]
    return ";".join((still, light, *colours))


def _moving_colour(plane: str, view: Window, *, frames: int, size: str, fps: int) -> str:
    """The same for a chroma plane, drawn from squares of half the side at half the price.

    On them an odd window would fall between pixels, and the colours would tremble. So there is one that begins at an
    even pixel and, where needed, one that begins at an odd pixel; the frames take them in turn.
    """
    halves = [
        f"{_crop(view, parity)},scale={view.square // 2}:{view.square // 2}:flags=area" for parity in view.parities
    ]
    if len(halves) == 1:
        return f"[{plane}0]{halves[0]},{_zoom(view, 2, frames)}:s={size}:fps={fps}[{plane}]"
    turns = f"loop=loop=-1:size=2,{_zoom(view, 2, 1)}:s={size}:fps={fps},trim=end_frame={frames}"
    return (
        f"[{plane}0]split[{plane}a][{plane}b];"
        f"[{plane}a]{halves[0]}[{plane}c];[{plane}b]{halves[1]}[{plane}d];"
        f"[{plane}c][{plane}d]concat,{turns}[{plane}]"
    )


def _crop(view: Window, offset: int) -> str:
    return f"crop={view.square}:{view.square}:{offset}:{offset}"


def _zoom(view: Window, divisor: int, repeat: int) -> str:
    """The window on a square `divisor` times smaller."""
    side, x, y = (f"({value})/{divisor}" for value in (view.side, view.x, view.y))
    # zoompan cuts off decimals: 0.01 more than the side keeps it from losing a pixel.
    return f"zoompan=z='{view.square // divisor}/({side}+0.01)':x='floor({x})':y='floor({y})':d={repeat}"


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
