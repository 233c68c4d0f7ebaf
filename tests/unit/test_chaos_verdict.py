"""The verdicts of `make chaos` on broken promises."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.chaos.checker import lost, metric_errors, paid_twice
from tests.chaos.witness import LIMIT_PREFIX, Sighting, Witness, oversold

ADA, BOB = "a" * 36, "b" * 36


def run(id_: str, created: str, ended: str | None = None, *, user_id: str = ADA, state: str = "COMPLETED") -> Sighting:
    return Sighting(id_, user_id, state if ended else "RUNNING", created, ended, run_count=1, lease_id="")


def painted(key: str, images: int = 1) -> dict[str, Any]:
    return {"prompt_id": "p", "extra_data": {"content_key": key}, "images": images}


def test_run_that_begins_while_all_slots_are_taken_is_oversold() -> None:
    runs = [run("one", "10", "20"), run("two", "15", "30"), run("three", "25"), run("four", "26")]
    assert oversold(runs, {ADA: 2}) == {"four"}
    assert oversold(runs, {ADA: 1}) == {"two", "three", "four"}


def test_runs_one_after_the_other_and_of_others_are_not_oversold() -> None:
    runs = [run("one", "10", "20"), run("two", "20"), run("three", "15", user_id=BOB)]
    assert oversold(runs, {ADA: 1, BOB: 1}) == set()


def test_run_of_somebody_without_a_limit_is_oversold() -> None:
    assert oversold([run("one", "10")], {}) == {"one"}


def test_picture_painted_again_was_paid_twice() -> None:
    log = [painted("ada/fox"), painted("bob/fox"), painted("ada/owl"), painted("ada/owl", images=0), painted("ada/fox")]
    assert paid_twice(log) == 1


def test_accepted_job_without_an_end_is_lost() -> None:
    assert lost(["one", "two", "three"], [run("one", "10", "20"), run("two", "10")]) == {"two", "three"}


def test_job_that_failed_under_a_fault_is_lost_and_one_that_was_killed_too_often_is_not() -> None:
    ends = [run("failed", "10", "20", state="FAILED"), run("killed", "10", "20", state="CRASHED")]
    assert lost(["failed", "killed"], ends) == {"failed"}


def test_counters_are_compared_with_the_states_of_the_runs() -> None:
    exposition = (
        "# TYPE jobs_enqueued_total counter\njobs_enqueued_total 4\n"
        "# TYPE jobs_completed_total counter\njobs_completed_total 1\n"
        '# TYPE jobs_failed_total counter\njobs_failed_total{reason="error"} 1\njobs_failed_total{reason="crashed"} 1\n'
        "# TYPE video_orchestrator_jobs_cancelled_total counter\nvideo_orchestrator_jobs_cancelled_total 0\n"
    )
    ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    runs = [run(state, "10", "20", state=state) for state in ends]
    assert metric_errors(exposition, runs) == {"video_orchestrator_jobs_cancelled_total": -1}
    assert metric_errors(exposition, runs[:3]) == {"jobs_enqueued_total": 1}


def test_witness_reads_runs_and_slots_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "prefect.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE flow_run (id, name, state_type, created, state_timestamp, run_count, idempotency_key, labels)"
        )
        database.execute("CREATE TABLE concurrency_limit_v2 (name, active_slots)")
        flow_runs = [
            ("1", f"{LIMIT_PREFIX}{ADA}-r", "RUNNING", "10", "11", 1, "lease", "{}"),
            ("2", f"{LIMIT_PREFIX}{ADA}-s", "FAILED", "12", "13", 1, "other", '{"tabario.lease": "another"}'),
            ("3", "a-nightly-clean-up", "SCHEDULED", "14", "14", 0, None, "{}"),
        ]
        database.executemany("INSERT INTO flow_run VALUES (?, ?, ?, ?, ?, ?, ?, ?)", flow_runs)
        limits = [(f"{LIMIT_PREFIX}{ADA}", 1), ("another", 5)]
        database.executemany("INSERT INTO concurrency_limit_v2 VALUES (?, ?)", limits)
    database.close()
    witness = Witness(path)
    assert [(run.user_id, run.ended) for run in witness.runs()] == [(ADA, None), (ADA, "13")]
    assert [run.lease_id for run in witness.runs()] == ["lease", "another"]
    assert witness.live(ADA) == 1
    assert witness.taken() == {ADA: 1}
