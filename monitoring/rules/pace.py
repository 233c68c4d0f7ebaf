"""How fast time passes for rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_DURATION: Final = re.compile(r"(\d+)([smh])")


@dataclass(frozen=True)
class Pace:
    """Divides every duration by `factor`: 1 in production, more where somebody watches an alert come and go."""

    factor: int = 1

    def duration(self, text: str) -> str:
        """A duration such as `15m` in Prometheus's words. Raises ValueError for one that is none."""
        found = _DURATION.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no duration such as 15m")
        if self.factor == 1:
            return text
        return f"{round(int(found[1]) * _UNITS[found[2]] * 1000 / self.factor)}ms"

    def seconds(self, number: float) -> str:
        """A number of seconds that is compared with a passing time."""
        return f"{number / self.factor:g}"


REAL_TIME: Final = Pace()
