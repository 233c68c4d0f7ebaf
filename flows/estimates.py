"""How long a job still takes, from what it has measured of itself. All times are seconds."""

from __future__ import annotations

from typing import Final

from tabario.records import Stage

MERGE_PACE: Final = 1.0
"""Seconds of merging per second of film on a small machine: a guess, used until the merge measures itself."""

_STAGE_ENDS: Final[dict[Stage, float]] = {
    Stage.QUEUED: 0.0,
    Stage.VOICEOVER: 0.08,
    Stage.SCENE_PLAN: 0.1,
    Stage.IMAGES: 0.7,
    Stage.MERGE: 0.97,
    Stage.PUBLISH: 1.0,
    Stage.DONE: 1.0,
}


def progress_at(stage: Stage, share: float) -> float:
    """The job's progress from 0 to 1 when `share` of a stage is done."""
    stages = list(_STAGE_ENDS)
    begin = _STAGE_ENDS[stages[max(0, stages.index(stage) - 1)]]
    return begin + (_STAGE_ENDS[stage] - begin) * share


def images_left(*, waiting: int, painted: int, elapsed: float) -> float | None:
    """Time for the pictures that are not there yet, at the pace of those painted; None before the first.

    Adopted pictures cost no time, so they say nothing about the pace.
    """
    if not waiting:
        return 0.0
    return elapsed / painted * waiting if painted else None


def share_left(*, share: float, elapsed: float) -> float | None:
    """Time for the rest of a stage of which `share` (0 to 1) is done; None while nothing is."""
    return elapsed * (1 - share) / share if share > 0 else None
