"""`python -m tabario.embedded.prefect_server server start`: Prefect's command line, safe for a server on SQLite.

Each connection to SQLite lives in a thread and holds a mutex while it waits for another connection's transaction, for
a minute at most. When the collector finds one of its cursors in a cycle, it waits for that mutex. On the thread of the
event loop that is a deadlock of a minute, because the transaction that all wait for goes on in the event loop. Under
load nearly every restart of the server ran into it. So garbage is collected in a thread that nobody waits for.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECT_SECONDS: Final = 0.1
"""Often, as Python itself does: what is garbage may still hold something."""
OLDER_EVERY: Final = 10
"""How many collections of a generation go by until the next older one is collected too."""


@contextmanager
def garbage_collected_aside(*, every: float) -> Iterator[None]:
    """While the block runs only a thread of its own collects garbage, `every` so many seconds."""
    end = threading.Event()
    collector = threading.Thread(target=_collect, args=(every, end), name="garbage collector", daemon=True)
    gc.disable()
    collector.start()
    try:
        yield
    finally:
        gc.enable()
        end.set()


def _collect(every: float, end: threading.Event) -> None:
    count = 0
    while not end.wait(every):
        count += 1
        gc.collect(2 if count % OLDER_EVERY**2 == 0 else 1 if count % OLDER_EVERY == 0 else 0)


def main() -> None:
    """Runs Prefect's command line."""
    from prefect.cli import app  # noqa: PLC0415 - its import takes a second, which the test of the above need not wait

    with garbage_collected_aside(every=COLLECT_SECONDS):
        app()


if __name__ == "__main__":
    main()
