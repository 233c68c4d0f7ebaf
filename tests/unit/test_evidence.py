"""The page of evidence says what was measured, and nothing of what was not."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from rich.console import Console

from tests.benchmarks.__main__ import find_benchmarks
from tests.benchmarks.evidence import HIGHLIGHTS, README, evidence, with_highlights
from tests.benchmarks.figures import Figures, Round
from tests.fleet.soak import Soak


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


async def test_page_tells_of_a_soak() -> None:
    figures = Soak(
        1800, 500, 4, accepted=90, completed=88, unended=2, redis_commands_a_job=1119, database_bytes_a_job=208_000
    )
    figures.latency, figures.queue_wait = {"start": [0.041, 0.3]}, {"premium": [2.0, 31.25]}
    figures.memory_growth, figures.cpu_seconds_a_job = {"redis": 1.5}, {"redis": 0.25, "postgres": 1.0}
    page = evidence({}, None, {}, asdict(figures))
    assert "Accepted 90 = completed 88 + under way\nat the end 2" in page
    assert "1119 commands of Redis and 208 kB" in page
    assert "| wait in the queue premium | 2 s | 31.2 s |" in page
    assert "| redis | +1.5 MiB | 0.25 s |" in page


async def test_figures_of_a_benchmark_that_is_gone_are_refused() -> None:
    with pytest.raises(KeyError, match="stewing"):
        evidence({"stewing": (await boiling(Console())).as_json()}, None, {"boiling": boiling})


def test_readme_is_made_for_the_benchmarks_that_there_are() -> None:
    assert HIGHLIGHTS.keys() <= find_benchmarks().keys()
    figures = {"ours": 1.0, "baseline": None, "limit": None, "ratio": 7.125, "unit": "s", "rounds": 1, "spread": 0.02}
    made = with_highlights(README.read_text(encoding="utf-8"), {"merge_vs_peer": figures})
    assert "| how much faster than MoviePy clips and a second encode, in CPU | 7.12 | 2% |" in made
    assert with_highlights(made, {"merge_vs_peer": figures}) == made
