"""A real PostgreSQL for tests, reached through a socket in a directory of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.servers import running
from tests.support.waiting import wait_until

SUPERUSER: Final = "postgres"

_NOBODY: Final = 65534
_SETTINGS: Final = ("listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off")


def find_postgresql() -> Path | None:
    """The directory of PostgreSQL's programs: on PATH, or where Debian puts them."""
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def unprivileged_directory() -> Iterator[Path]:
    """A new directory that belongs to whom `unprivileged` commands run as."""
    with tempfile.TemporaryDirectory(prefix="tabario-") as name:
        if os.geteuid() == 0:
            os.chown(name, _NOBODY, _NOBODY)
        yield Path(name)


def unprivileged(*command: str | Path) -> list[str]:
    """The command without root's rights, with which servers refuse to run."""
    drop = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--"]
    return [*(drop if os.geteuid() == 0 else []), *map(str, command)]


@dataclass(frozen=True)
class PostgreSQL:
    """A running PostgreSQL whose local users need no password."""

    programs: Path
    socket_directory: Path

    def url(self, role: str) -> str:
        """Where `role` connects to."""
        return f"postgresql://{role}@/postgres?host={self.socket_directory}"

    def execute(self, sql: str, **values: str) -> str:
        """Runs statements as superuser in one transaction; returns the rows, their columns separated by `|`.

        `:'name'` in a statement stands for one of the values.
        """
        variables = [word for name, value in values.items() for word in ("-v", f"{name}={value}")]
        program = str(self.programs / "psql")
        command = [program, "-XqAt", "-1", "-v", "ON_ERROR_STOP=1", *variables, self.url(SUPERUSER)]
        done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def postgresql_running(programs: Path, log: Path) -> Iterator[PostgreSQL]:
    """A new, empty PostgreSQL."""
    with unprivileged_directory() as directory:
        data = directory / "data"
        initialise = (programs / "initdb", "-D", data, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-sync")
        subprocess.run(unprivileged(*initialise), cwd=directory, capture_output=True, check=True)
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        command = unprivileged(programs / "postgres", "-D", data, "-k", directory, *settings)
        with running(command, environment={}, log=log):
            server = PostgreSQL(programs=programs, socket_directory=directory)

            def answers() -> bool:
                check = [str(programs / "pg_isready"), "-q", "-d", server.url(SUPERUSER)]
                return subprocess.run(check, check=False).returncode == 0

            wait_until(answers, within=60, what="PostgreSQL answers")
            yield server
