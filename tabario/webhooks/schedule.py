"""When a webhook that did not arrive is tried again. All times are seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

DELAYS: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200)
"""About 28 hours in all: an app that is down overnight misses nothing."""

LONGEST_STRETCH: Final = 0.25
"""The share by which a delay is stretched at most, so that many do not come back at once."""


def next_delay(tries: int, *, asked: float | None = None, chance: Callable[[], float] = random.random) -> float | None:
    """Time until the next try after so many; None when there is none. The host may have `asked` for a longer one."""
    if tries > len(DELAYS):
        return None
    delay = max(float(DELAYS[tries - 1]), asked or 0.0)
    return delay * (1 + LONGEST_STRETCH * chance())
