"""The page of evidence says what was measured, and nothing of what was not."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.benchmarks.__main__ import find_benchmarks
from tests.benchmarks.evidence import HIGHLIGHTS, README, evidence, with_highlights
from tests.benchmarks.figures import Figures, Round


async def boiling(_: Console) -> Figures:
    """Seconds until the kettle boils,
    over those of a pan."""
    return Figures.of([Round(ours=60, baseline=120, ratio=0.5), Round(ours=66, baseline=110, ratio=0.6)], unit="s")


CHAOS = {
    "submissions": 9,
    "accepted": 4,
    "refused": 5,
    "oversold": 0,
    "leaked": 1,
    "images_paid_twice": 0,
    "metric_errors": 0,
    "jobs_lost": 0,
    "faults": {"redis_killed": {"injected": 3, "healed_max_s": 6.94}},
}


async def test_page_holds_every_figure_and_how_it_is_meant() -> None:
    page = evidence({"boiling": (await boiling(Console())).as_json()}, CHAOS, {"boiling": boiling})
    assert "| `boiling` | 63 | 115 | - | s | 0.55 | 18% | 2 |" in page
    assert "- `boiling`: Seconds until the kettle boils, over those of a pan." in page
    assert "1 leaked" in page
    assert "| redis killed | 3 | 6.9 s |" in page


async def test_figures_of_a_benchmark_that_is_gone_are_refused() -> None:
    with pytest.raises(KeyError, match="stewing"):
        evidence({"stewing": (await boiling(Console())).as_json()}, None, {"boiling": boiling})


def test_readme_is_made_for_the_benchmarks_that_there_are() -> None:
    assert HIGHLIGHTS.keys() <= find_benchmarks().keys()
    figures = {"ours": 1.0, "baseline": None, "limit": None, "ratio": 7.125, "unit": "s", "rounds": 1, "spread": 0.02}
    made = with_highlights(README.read_text(encoding="utf-8"), {"merge_vs_peer": figures})
    assert "| how much faster than MoviePy clips and a second encode, in CPU | 7.12 | 2% |" in made
    assert with_highlights(made, {"merge_vs_peer": figures}) == made
