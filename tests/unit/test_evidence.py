"""The page of evidence says what was measured, and nothing of what was not."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.benchmarks.__main__ import find_benchmarks
from tests.benchmarks.evidence import (
    HIGHLIGHTS,
    KEPT,
    PAGE,
    README,
    REASONS,
    covered,
    evidence,
    with_earlier,
    with_highlights,
)
from tests.benchmarks.figures import Figures, Round
from tests.fleet.costs import Usage, costs_of_a_job, rates
from tests.fleet.soak import Soak, Submissions, fifths
from tests.mutation.__main__ import change_of, read
from tests.support.measured import dated


async def boiling(_: Console) -> Figures:
    """Seconds until the kettle boils,
    over those of a pan."""
    return Figures.of([Round(ours=60, baseline=120, ratio=0.5), Round(ours=66, baseline=110, ratio=0.6)], unit="s")


DAY = "2026-01-31"
CHAOS = {
    "day": DAY,
    "seconds": 90.0,
    "submissions": 9,
    "accepted": 4,
    "refused": 2,
    "put_off": 1,
    "unanswered": 1,
    "wrong_answers": 1,
    "oversold": 0,
    "leaked": 1,
    "images_paid_twice": 0,
    "metric_errors": 0,
    "jobs_lost": 0,
    "faults": {"redis_killed": {"injected": 3, "unhealed": 1, "healed_max_s": 6.94}},
}


async def test_page_holds_every_figure_and_how_it_is_meant() -> None:
    page = evidence(
        {"bench": {"boiling": {**dated((await boiling(Console())).as_json()), "cores": 3}}, "chaos": CHAOS},
        {"boiling": boiling},
    )
    assert "Machines had 3 cores" in page
    assert f"| `boiling` | 63 | 115 | - | s | 0.55 | 18% | - | 2 | {datetime.now(UTC):%Y-%m-%d} |" in page
    assert "- `boiling`: Seconds until the kettle boils, over those of a pan." in page
    assert "`make chaos SECONDS=90` (2026-01-31) broke a running stack 3 times" in page
    assert (
        "9 = accepted 4 + refused for want of a slot 2 + put off with 503 1\n+ unanswered 1 + answered in another"
        in page
    )
    assert "1 leaked" in page
    assert "| redis killed | 3 | 6.9 s | 1 |" in page


async def test_page_tells_of_a_soak() -> None:
    figures = Soak(1800, 500, 4, submissions=95, accepted=90, refused=5, completed=88, running=1, waiting=1)
    figures.answers = {"start 202": 90, "start 503 unavailable with Retry-After": 7, "status 200": 400}
    figures.latency, figures.queue_wait = {"start": [0.041, 0.3]}, {"premium": [2.0, 31.25]}
    figures.memory = {"redis": fifths([1, 2, 3, 3, 3, 4, 4, 4, 5, 5.25]), "exporter": fifths([7.5])}
    figures.largest_tables = {"events": 41_230.0}
    figures.idle, figures.costs = {"CPU of redis, s": 0.0125}, {"CPU of redis, s": 0.25}
    page = evidence({"soak": dated(asdict(figures)), "soak-24": dated(asdict(figures))}, {})
    assert "Accepted 90 = completed\n88 + running 1 + waiting 1" in page
    assert "90 x 202, 7 x 503 unavailable with Retry-After." in page
    assert "| wait in the queue premium | 2 s | 31.2 s |" in page
    assert "| redis | 1.5, 3.0, 3.5, 4.0, 5.1 |\n| exporter | 7.5, 7.5, 7.5, 7.5, 7.5 |\n" in page
    assert "tables were\nevents (41.2 MB)." in page
    assert "| CPU of redis, s | 0.0125 | 0.25 |" in page


def test_the_costs_of_a_job_are_what_comes_on_top_of_an_idle_installation() -> None:
    before, later = Usage(100, 3, {"commands": 500, "rows": 70}), Usage(110, 3, {"commands": 600, "rows": 70})
    loaded = Usage(130, 7, {"commands": 1000, "rows": 90})
    idle = rates(before, later)
    assert idle == {"commands": 10, "rows": 0}
    assert costs_of_a_job(later, loaded, idle) == {"commands": 50, "rows": 5}


STATES = {"a": "COMPLETED", "b": "SCHEDULED", "c": "RUNNING"}


@pytest.mark.parametrize(
    ("accepted", "unanswered", "states", "adds_up"),
    [
        ({"a", "b", "c"}, 0, STATES, True),
        ({"a", "b", "c", "d"}, 0, STATES, False),  # one is lost
        ({"a", "b"}, 0, STATES, False),  # one goes on that nobody was told of
        ({"a", "b"}, 1, STATES, True),  # of that one, an answer may have been lost
        ({"a", "b", "c"}, 0, {**STATES, "c": "CRASHED"}, False),
    ],
)
def test_a_soak_adds_up_when_every_job_is_somewhere(
    accepted: set[str],
    unanswered: int,
    states: dict[str, str],
    adds_up: bool,  # noqa: FBT001 - what is expected
) -> None:
    figures = Soak(1800, 500, 4)
    figures.settle(Submissions(len(accepted) + 7 + unanswered, accepted, 7, unanswered), states)
    assert figures.adds_up is adds_up


def test_a_user_with_more_jobs_than_the_tier_allows_is_told() -> None:
    figures = Soak(1800, 500, 4, oversold=1)
    figures.settle(Submissions(3, {"a", "b", "c"}), STATES)
    assert not figures.adds_up
    figures.oversold = 0
    assert figures.adds_up


async def test_figures_of_a_benchmark_that_is_gone_are_refused() -> None:
    with pytest.raises(KeyError, match="stewing"):
        evidence({"bench": {"stewing": (await boiling(Console())).as_json()}}, {"boiling": boiling})


def test_readme_is_made_for_the_benchmarks_that_there_are() -> None:
    assert HIGHLIGHTS.keys() <= find_benchmarks().keys()
    figures = {"ours": 1.0, "baseline": None, "limit": None, "ratio": 7.125, "unit": "s", "rounds": 3, "spread": 0.02}
    made = with_highlights(README.read_text(encoding="utf-8"), {"merge_vs_peer": figures})
    assert "| how much faster than MoviePy clips and a second encode, in CPU (more: better) | 7.12 | 2% |" in made
    assert with_highlights(made, {"merge_vs_peer": figures}) == made


def test_coverage_is_told_by_package() -> None:
    def file(statements: int, lines: int, branches: int, taken: int) -> dict[str, Any]:
        counts = {"num_statements": statements, "covered_lines": lines, "num_branches": branches}
        return {"summary": {**counts, "covered_branches": taken}}

    files = {"api/a.py": file(8, 8, 2, 1), "tabario/b.py": file(40, 30, 10, 10), "tabario/c/d.py": file(50, 50, 0, 0)}
    found = covered({"meta": {"timestamp": f"{DAY}T23:59:59.5"}, "files": files})
    assert found == {"day": DAY, "api": 90, "tabario": 90}
    assert "90.0 % of the core's lines and branches and 90.0 % of the front\ndoor's" in evidence(
        {"coverage": found}, {}
    )


def test_page_tells_how_mutants_ended() -> None:
    mutants = {
        "gate": {
            "day": DAY,
            "mutants": 12,
            "ends": {"killed": 10, "survived": 2},
            "noticed_by_nobody": {"tabario.slots.gate.x_a__mutmut_1": "a → b"},
        },
        "leader": {"day": "2026-11-20", "mutants": 3, "ends": {"killed": 3}, "noticed_by_nobody": {}},
    }
    page = evidence({"mutants": mutants}, {})
    assert "changed the slots in 15 places, one at a time. Tests noticed 13." in page
    assert f"| `slots.gate` | 12 | 10 | {DAY} |\n| `slots.leader` | 3 | 3 | 2026-11-20 |\n" in page


def test_a_module_counts_once_all_its_mutants_were_tried(tmp_path: Path) -> None:
    for name, codes in {"gate": {"x_a__mutmut_1": 1, "x_a__mutmut_2": 0}, "leader": {"x_b__mutmut_1": None}}.items():
        (tmp_path / f"{name}.py.meta").write_text(json.dumps({"exit_code_by_key": codes}), encoding="utf-8")
    os.utime(tmp_path / "gate.py.meta", (86400 * 2, 86400 * 2))
    assert read(tmp_path) == {
        "gate": {
            "day": "1970-01-03",
            "mutants": 2,
            "ends": {"killed": 1, "survived": 1},
            "noticed_by_nobody": {"x_a__mutmut_2": ""},
        }
    }


def test_page_says_of_each_unnoticed_change_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reasons = tmp_path / "reasons.toml"
    reasons.write_text('"tabario.slots.gate.xǁGateǁshut__mutmut_1" = "the two are the same"\n', encoding="utf-8")
    monkeypatch.setattr("tests.benchmarks.evidence.REASONS", reasons)
    unnoticed = {
        "tabario.slots.gate.xǁGateǁshut__mutmut_1": "a | b → b | a",
        "tabario.slots.gate.x_open_up__mutmut_2": "a → c",
    }
    gate = {"day": DAY, "mutants": 9, "ends": {"killed": 7, "survived": 2}, "noticed_by_nobody": unnoticed}
    page = evidence({"mutants": {"gate": gate}}, {})
    assert r"| `slots.gate.Gate.shut`: `a \| b → b \| a` | the two are the same |" in page
    assert "| `slots.gate.open_up`: `a → c` | a test is missing |" in page


def test_a_line_that_is_measured_anew_leaves_its_ratio_behind() -> None:
    kept = {"pan": {"ratio": 4.0, "day": DAY, "earlier": [1.0, 2.0, 3.0]}, "pot": {"ratio": 7.0, "day": DAY}}
    line = {"ratio": 5.0, "day": DAY}
    assert with_earlier(kept, {"pan": line, "wok": line}) == {
        "pan": {**line, "earlier": [2.0, 3.0, 4.0]},
        "pot": kept["pot"],
        "wok": {**line, "earlier": []},
    }
    assert with_earlier(with_earlier(kept, {"pan": line}), {"pan": line})["pan"]["earlier"] == [2.0, 3.0, 4.0]


def test_the_pages_show_what_is_kept() -> None:
    found = json.loads(KEPT.read_text(encoding="utf-8"))
    readme = README.read_text(encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == evidence(found, find_benchmarks())
    assert readme == with_highlights(readme, found["bench"])


def test_every_reason_is_one_of_a_change_that_goes_unnoticed() -> None:
    modules = json.loads(KEPT.read_text(encoding="utf-8"))["mutants"].values()
    unnoticed = {mutant for module in modules for mutant in module["noticed_by_nobody"]}
    assert tomllib.loads(REASONS.read_text(encoding="utf-8")).keys() <= unnoticed


def test_a_change_is_told_on_one_line() -> None:
    diff = "--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n def f():\n-    return 1 + 2\n+    return 1 - 2\n"
    assert change_of(diff) == "return 1 + 2 → return 1 - 2"
