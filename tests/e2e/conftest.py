"""One running stack for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import StackUnderTest, stack_running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackUnderTest]:
    with stack_running(tmp_path_factory.mktemp("stack"), TABARIO_EMBEDDED_IMAGE_SECONDS="0.5") as running:
        yield running
