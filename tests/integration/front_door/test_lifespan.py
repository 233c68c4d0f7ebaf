"""The front door's life as a process."""

from __future__ import annotations

import signal
from types import FrameType

import pytest

from api.lifespan import keep


async def test_process_asks_itself_to_stop_when_its_keeper_dies(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        asked.append(number)

    async def die() -> None:
        raise ValueError("unforeseen")

    before = signal.signal(signal.SIGTERM, note)
    try:
        await keep(die)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked == [signal.SIGTERM]
    assert "unforeseen" in caplog.text
