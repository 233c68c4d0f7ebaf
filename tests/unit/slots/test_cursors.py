from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tabario.clients.prefect.cursors import Cursor
from tabario.clients.prefect.models import FlowRunBody

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def due(when: datetime) -> FlowRunBody:
    return FlowRunBody(id=uuid4(), name="a run", created=when, expected_start_time=when)


def test_a_cursor_survives_the_way_to_the_caller_and_back() -> None:
    cursor = Cursor.after([due(NOON)], None)
    assert Cursor.read(str(cursor)) == cursor


def test_a_cursor_names_only_the_shown_runs_of_its_last_moment() -> None:
    early, late = due(NOON), due(NOON + timedelta(seconds=1))
    assert Cursor.after([late, early], None).shown == {early.id}


def test_runs_of_one_moment_are_all_remembered_over_several_pages() -> None:
    first, second = due(NOON), due(NOON)
    following = Cursor.after([second], Cursor.after([first], None))
    assert following.shown == {first.id, second.id}
