"""What a benchmark found: medians over its rounds, in which ours and what it is compared with took turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Self


@dataclass(frozen=True)
class Round:
    """One round, all parts measured side by side.

    `ratio` is what the benchmark is about; its docstring says of what to what. `baseline` is the way of others, `limit`
    what no implementation could better. All but `ratio` are in the benchmark's unit.
    """

    ours: float
    ratio: float
    baseline: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Figures:
    """The medians of all rounds. `spread` is (largest - smallest) / median of the ratio."""

    ours: float
    baseline: float | None
    limit: float | None
    ratio: float
    unit: str
    rounds: int
    spread: float

    @classmethod
    def of(cls, rounds: Sequence[Round], *, unit: str) -> Self:
        """Sums up at least one round."""
        ratios = [one.ratio for one in rounds]
        middle = median(ratios)
        return cls(
            ours=_rounded(median(one.ours for one in rounds)),
            baseline=_median(one.baseline for one in rounds),
            limit=_median(one.limit for one in rounds),
            ratio=_rounded(middle),
            unit=unit,
            rounds=len(rounds),
            spread=_rounded((max(ratios) - min(ratios)) / middle) if middle else 0.0,
        )

    def as_json(self) -> dict[str, Any]:
        """The object under the benchmark's name in `build/bench.json`."""
        return asdict(self)


def _median(values: Any) -> float | None:  # noqa: ANN401 - an iterable of optional numbers
    present = [value for value in values if value is not None]
    return _rounded(median(present)) if present else None


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")
