"""Events that wait in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tabario.metrics.definitions import JOBS_FAILED, JOBS_STARTED
from tabario.metrics.ledger import Event
from tabario.metrics.outbox import Outbox
from tabario.metrics.spool import Spool

STARTED = JOBS_STARTED.increment().deltas
FAILED = JOBS_FAILED.increment(reason="error").deltas


def sums(events: list[Event]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for event in events:
        for name, amount in event.deltas:
            totals[name] = totals.get(name, 0) + amount
    return totals


def test_events_leave_in_the_order_they_came_and_only_when_confirmed() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(Event(str(number), STARTED))
    first = outbox.batch(2)
    assert [event.id for event in first] == ["0", "1"]
    assert outbox.batch(2) == first
    outbox.confirm(first)
    assert [event.id for event in outbox.batch(2)] == ["2"]


def test_the_same_event_waits_once() -> None:
    outbox = Outbox()
    outbox.put(Event("a", STARTED))
    outbox.put(Event("a", STARTED))
    assert len(outbox.batch(10)) == 1


def test_beyond_its_capacity_amounts_are_merged_and_none_is_lost() -> None:
    outbox = Outbox(capacity=5)
    kept = [outbox.put(Event(str(number), STARTED + FAILED)) for number in range(1000)]
    assert kept == [True] * 5 + [False] * 995
    left = outbox.empty()
    assert len(left) == 6
    assert set(sums(left).values()) == {1000}


def test_merged_amounts_keep_the_id_they_are_first_sent_with() -> None:
    outbox = Outbox()
    outbox.merge(STARTED)
    first = outbox.batch(10)
    outbox.merge(STARTED)
    assert outbox.batch(10) == first, "an id that may have been counted must not change its amounts"
    outbox.confirm(first)
    (second,) = outbox.batch(10)
    assert second.id != first[0].id


def test_an_empty_outbox_has_nothing_to_send() -> None:
    outbox = Outbox()
    assert outbox.batch(10) == []
    assert outbox.empty() == []


def test_the_spool_gives_back_what_was_written(tmp_path: Path) -> None:
    events = [Event("a", STARTED), Event("b", FAILED)]
    Spool(tmp_path / "new").write(events)
    ((path, read),) = Spool(tmp_path / "new").files()
    assert read == events
    Spool(tmp_path / "new").remove(path)
    assert list(Spool(tmp_path / "new").files()) == []


def test_a_broken_spool_file_is_removed_and_does_not_hide_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "0.spool").write_text("{half of")
    Spool(tmp_path).write([Event("a", STARTED)])
    assert [events for _, events in Spool(tmp_path).files()] == [[Event("a", STARTED)]]
    assert not (tmp_path / "0.spool").exists()
    assert "cannot be read" in caplog.text


def test_a_disk_that_refuses_is_logged_and_not_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    Spool(tmp_path / "file" / "spool").write([Event("a", STARTED)])
    assert "Lost 1 observations" in caplog.text
