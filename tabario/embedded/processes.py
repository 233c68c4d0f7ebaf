"""Operating-system processes of the embedded stack: started so that none outlives it.

Every process, and whatever it starts in turn, carries a mark in its environment. Whoever ends the stack ends all that
carry its mark, orphans included.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from tabario.parent import end_with_parent
from tabario.settings_source import inherited_environment

MARK: Final = "TABARIO_STACK"


def child_environment(mark: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Environment of a process of the stack: the caller's own, without another Prefect's settings."""
    return {**inherited_environment(without=("PREFECT_", "PROMETHEUS_MULTIPROC_DIR")), **extra, MARK: mark}


async def spawn(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, cwd: Path
) -> asyncio.subprocess.Process:
    """Starts a process in a session of its own, so that Ctrl+C reaches the supervisor only. Output goes to `log`."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM) if sys.platform == "linux" else None,
        )


def end_marked(mark: str, *, grace: float) -> int:
    """Ends every process that carries the mark, by force after `grace` seconds. Returns how many there were."""
    return _end(_marked(mark), grace=grace)


async def end_tree(process: asyncio.subprocess.Process, *, grace: float) -> None:
    """Ends our child and its descendants; kills what is left after `grace` seconds."""
    if process.returncode is not None:
        return
    descendants = _descendants(process.pid)
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace)
    except TimeoutError:
        process.kill()
        await process.wait()
    await asyncio.to_thread(_end, descendants, grace=2)


def _end(processes: Iterable[psutil.Process], *, grace: float) -> int:
    victims = [process for process in processes if process.is_running()]
    for process in victims:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(victims, timeout=grace)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=grace)
    return len(victims)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
