"""A clock that stands still until it is moved."""

from __future__ import annotations

import pytest

from tests.support.orchestrator import StillClock


@pytest.fixture
def clock() -> StillClock:
    return StillClock()
