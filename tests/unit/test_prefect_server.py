"""The deadlock between the garbage collector and the connections to SQLite, and that the server cannot run into it."""

from __future__ import annotations

import gc
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from tabario.embedded.prefect_server import garbage_collected_aside

BUSY_SECONDS = 1.0
PATIENCE_SECONDS = 10.0


class Cycle:
    """Garbage that only the collector finds."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.cursor = cursor
        self.me = self


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def wait_for_transaction(path: Path, find_garbage: Callable[[threading.Event], object]) -> list[str]:
    """What a connection met that waited for another one's transaction, which ends after garbage was found."""
    writer, waiter = connect(path), connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE numbers (number)")
    cursor = waiter.execute("SELECT 1 UNION ALL SELECT 2")
    cursor.fetchone()  # there is a second row, so the statement is to be reset
    waiting, met = threading.Event(), list[str]()
    waiter.set_trace_callback(lambda _: waiting.set())  # is called with the connection's mutex held

    def write() -> None:
        try:
            waiter.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            met.append(str(error))

    writer.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=write)
    thread.start()
    assert waiting.wait(PATIENCE_SECONDS)
    garbage, found = Cycle(cursor), threading.Event()
    weakref.finalize(garbage, found.set)
    del cursor, garbage
    find_garbage(found)
    writer.execute("COMMIT")
    thread.join(PATIENCE_SECONDS)
    assert found.is_set()
    return met


def test_collector_on_the_thread_that_ends_the_transaction_waits_for_it(tmp_path: Path) -> None:
    gc.disable()
    try:
        assert wait_for_transaction(tmp_path / "numbers.db", lambda _: gc.collect()) == ["database is locked"]
    finally:
        gc.enable()


def test_collector_aside_lets_the_transaction_end(tmp_path: Path) -> None:
    with garbage_collected_aside(every=0.01):
        assert wait_for_transaction(tmp_path / "numbers.db", lambda found: found.wait(PATIENCE_SECONDS)) == []
