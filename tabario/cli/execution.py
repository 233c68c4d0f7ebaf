"""`tabario exec`: a program that reads no secrets from files is started with those that ours are given."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import NoReturn

from tabario.errors import ConfigurationError
from tabario.settings_source import expanded_environment


def replace_process(command: Sequence[str]) -> NoReturn:
    """Becomes the command, so that signals reach it. Raises ConfigurationError when there is no such program."""
    program = shutil.which(command[0])
    if program is None:
        raise ConfigurationError(f"There is no program {command[0]!r} on PATH.")
    os.execve(program, list(command), expanded_environment())
