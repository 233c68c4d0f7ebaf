"""Totals that went backwards are noticed, also by a new process."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring.high_water import NOTHING_YET, HighWater, HighWaterFile
from tabario.metrics.ledger import Totals

FIRST = Totals("first", {"a": 5.0, "b": 2.0})


@pytest.mark.parametrize(
    ("totals", "rolled_back"),
    [
        (Totals("first", {"a": 5.0, "b": 2.0}), False),
        (Totals("first", {"a": 6.0, "b": 2.0, "c": 1.0}), False),
        (Totals("first", {"a": 6.0, "b": 1.0}), True),
        (Totals("first", {"a": 6.0}), True),
        (Totals("second", {"a": 1.0}), False),
        (Totals(None, {}), False),
    ],
)
def test_smaller_totals_of_the_same_epoch_are_a_rollback(totals: Totals, *, rolled_back: bool) -> None:
    assert NOTHING_YET.accept(FIRST).is_rolled_back(totals) is rolled_back


def test_an_epoch_that_had_ended_is_a_rollback_however_large_its_totals() -> None:
    mark = NOTHING_YET.accept(FIRST).accept(Totals("second", {"a": 1.0}))
    assert mark.is_rolled_back(Totals("first", {"a": 9.0, "b": 9.0}))


def test_a_flushed_redis_ends_the_epoch_before_it() -> None:
    mark = NOTHING_YET.accept(FIRST).accept(Totals(None, {})).accept(Totals("second", {"a": 1.0}))
    assert mark == HighWater(Totals("second", {"a": 1.0}), ("first",))


def test_the_mark_outlives_the_process(tmp_path: Path) -> None:
    mark = NOTHING_YET.accept(FIRST)
    HighWaterFile(tmp_path / "new" / "mark.json").write(mark)
    assert HighWaterFile(tmp_path / "new" / "mark.json").read() == mark


def test_a_missing_or_broken_file_means_nothing_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = HighWaterFile(tmp_path / "mark.json")
    assert file.read() == NOTHING_YET
    assert not caplog.records
    (tmp_path / "mark.json").write_text("[]")
    assert file.read() == NOTHING_YET
    assert "Cannot read the high-water mark" in caplog.text


def test_a_disk_that_refuses_does_not_stop_the_exporter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    HighWaterFile(tmp_path / "file" / "mark.json").write(NOTHING_YET)
    assert "Cannot write the high-water mark" in caplog.text
