"""A child process in a group of its own, which never outlives the block that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process


@asynccontextmanager
async def group_running(
    command: Sequence[str], *, cwd: Path | None, stdin: int, stdout: int, environment: Mapping[str, str]
) -> AsyncIterator[Process]:
    """Starts `command` with standard error piped; on leaving, kills what still runs of its group and waits for it."""
    process = await anyio.open_process(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await process.aclose()
