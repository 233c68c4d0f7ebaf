"""The processes in which workers' flows run: what a worker starts for a run, and the fork that makes its film."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import psutil

from flows import engine
from flows.engine import forkserver

FORK_SERVER: Final = forkserver.__name__
_FORK: Final = "prefect.engine"


def forks(among: Iterable[psutil.Process], run: str = "") -> list[psutil.Process]:
    """Those that make films; of one run, when its id is given."""
    return [process for process in among if f"{_FORK} {run}" in command_of(process)]


def started(among: Iterable[psutil.Process], run: str) -> list[psutil.Process]:
    """What the worker started for a run, and knows it by."""
    return [
        process
        for process in among
        if command_of(process).endswith(f"-m {engine.__name__}") and variable_of(process, "PREFECT__FLOW_RUN_ID") == run
    ]


def command_of(process: psutil.Process) -> str:
    """Its command line; empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def variable_of(process: psutil.Process, name: str) -> str | None:
    """A variable of the environment that its program was started with."""
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None
