"""Black and frozen stretches of a film: how ffmpeg is asked for them, and which of them the pictures excuse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

BLACK_SECONDS: Final = 0.1
"""A black stretch that is longer is a fault: a flash."""

FROZEN_SECONDS: Final = 1.0
"""A picture that stands still for so long is a fault."""

WATCHED: Final = 0.45
"""The part of the picture's height that is watched, from the top: subtitles stand lower."""

_WIDTH: Final = 270  # pixels; enough to tell stillness from motion
_EDGES: Final = re.compile(r"lavfi\.(black|freezedetect\.freeze)_(start|end)=([\d.]+)")


class Fault(StrEnum):
    """What is seen for too long."""

    BLACK = "black"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` to `end` in seconds; the end may be that of the film."""

    fault: Fault
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Scenery:
    """What a scene shows from `start` to `end`, and the faults that its picture excuses."""

    start: float
    end: float
    excuses: frozenset[Fault]


def watching(report: str, *, frozen: float = FROZEN_SECONDS) -> str:
    """Filters that write black and frozen stretches to the file `report`, in the directory where ffmpeg runs.

    They look at the upper part of the picture, small and grey: subtitles would lighten up a black picture and keep a
    frozen one moving. `frozen` must be longer than the time between two frames that are seen.
    """
    return (
        f"crop=iw:floor(ih*{WATCHED}):0:0,scale={_WIDTH}:-2:flags=neighbor,format=gray,"
        f"blackdetect=d={BLACK_SECONDS}:picture_black_ratio_th=0.98:pixel_black_th=0.1,"
        f"freezedetect=n=-60dB:d={frozen},metadata=mode=print:file={report}"
    )


def read_stretches(report: Path, duration: float) -> list[Stretch]:
    """What ffmpeg wrote. A stretch that does not end, ends with the film, which lasts `duration` seconds."""
    found: list[Stretch] = []
    open_since: dict[Fault, float] = {}
    for name, edge, second in _EDGES.findall(report.read_text(encoding="ascii")):
        fault = Fault.BLACK if name == "black" else Fault.FROZEN
        if edge == "start":
            open_since[fault] = float(second)
        elif fault in open_since:
            found.append(Stretch(fault, open_since.pop(fault), float(second)))
    found += (Stretch(fault, start, duration) for fault, start in open_since.items())
    return found


def unexcused(stretches: Iterable[Stretch], scenes: Sequence[Scenery]) -> list[Stretch]:
    """The stretches that are faults: what is left of each once the scenes that excuse it are taken away."""
    limits = {Fault.BLACK: BLACK_SECONDS, Fault.FROZEN: FROZEN_SECONDS}
    return [
        stretch
        for stretch in stretches
        if sum(_overlap(stretch, scene) for scene in scenes if stretch.fault not in scene.excuses)
        >= limits[stretch.fault] - 1e-6
    ]


def _overlap(stretch: Stretch, scene: Scenery) -> float:
    return max(0.0, min(stretch.end, scene.end) - max(stretch.start, scene.start))
