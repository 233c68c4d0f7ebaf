"""The whole embedded stack as a user starts it, on free ports and in a directory of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tabario.embedded.processes import MARK
from tabario.embedded.state import RunningStack, StackDirectory
from tests.support.servers import free_port
from tests.support.waiting import wait_until

TABARIO = [sys.executable, "-m", "tabario.cli"]


@dataclass(frozen=True)
class UserShell:
    """Runs `tabario` as a user would; every command sees the same environment."""

    state: Path
    environment: dict[str, str]

    @property
    def directory(self) -> StackDirectory:
        return StackDirectory(self.state)

    def run(self, *words: str, within: float = 240) -> subprocess.CompletedProcess[str]:
        """A command to its end; `within` is in seconds."""
        return subprocess.run(
            [*TABARIO, *words], env=self.environment, capture_output=True, text=True, timeout=within, check=False
        )

    def processes(self) -> list[psutil.Process]:
        """Every process that the stack started, however deep."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.state.resolve()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def named(self, word: str) -> psutil.Process:
        """The process of the stack with this word on its command line."""
        return next(process for process in self.processes() if word in process.cmdline())


@dataclass(frozen=True)
class StackUnderTest(UserShell):
    """A running stack. `output` is what `tabario up` printed."""

    addresses: RunningStack
    up: subprocess.Popen[bytes]
    output: Path


def shell_in(directory: Path, **variables: str) -> UserShell:
    """A user's shell with free ports for a stack in `directory`."""
    ports = ("EMBEDDED_REDIS", "EMBEDDED_PREFECT", "EMBEDDED_COMFYUI", "API", "EXPORTER")
    environment = {
        **os.environ,
        **{f"TABARIO_{name}_PORT": str(free_port()) for name in ports},
        "TABARIO_STATE_DIR": str(directory / "state"),
        "COLUMNS": "160",
        **variables,
    }
    return UserShell(directory / "state", environment)


@contextmanager
def stack_running(directory: Path, **variables: str) -> Iterator[StackUnderTest]:
    """`tabario up`, from the moment it is ready until SIGTERM."""
    shell = shell_in(directory, **variables)
    output = directory / "up.txt"
    with output.open("wb") as printed:
        up = subprocess.Popen([*TABARIO, "up"], env=shell.environment, stdout=printed, stderr=printed)
    try:
        wait_until(
            lambda: shell.directory.running() is not None or up.poll() is not None, within=300, what="the stack is up"
        )
        addresses = shell.directory.running()
        assert addresses is not None, output.read_text()
        yield StackUnderTest(shell.state, shell.environment, addresses, up, output)
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(60)
