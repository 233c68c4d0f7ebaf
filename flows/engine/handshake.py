"""What the process of a flow run and the fork server of its worker say to each other, and how they find one another.

Messages go over an abstract Unix socket that keeps their limits, each a JSON object: a request with the standard
streams beside it; the pid of the fork, or that the server made way for another; `GO`; and at the fork's end the status
that `waitpid` gave. Only the standard library is imported: this is read before every run. The environment is handed on
as a whole, so that it is taken from the process; nothing in it is a setting of this package.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import struct
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MESSAGE_BYTES: Final = 1 << 16
STREAMS: Final = (0, 1, 2)
FINGERPRINT: Final = "fingerprint"
VARIABLES: Final = "variables"
PID: Final = "pid"
STATUS: Final = "status"
MADE_WAY: Final = {"made_way": True}
GO: Final = b"go"
FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # from what the worker knows to the fork
RUN_PREFIX: Final = "PREFECT__"  # Prefect names so what it tells a single run

_ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGES: Final = ("flows", "blocks", "tabario")
_PREFECT_SETTINGS: Final = (".env", "prefect.toml", "pyproject.toml")  # in the working directory


def address_of(worker: int) -> str:
    """Where the fork server of a worker listens; `worker` is its pid. No other container has the same address."""
    return f"\0tabario-engine-{Path('/proc/self/ns/mnt').readlink()}-{worker}"


def common_environment() -> dict[str, str]:
    """The environment without what belongs to this run alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(RUN_PREFIX)}


def run_environment() -> dict[str, str]:
    """What of the environment belongs to this run alone."""
    return {name: value for name, value in os.environ.items() if name.startswith(RUN_PREFIX)}


def fingerprint() -> str:
    """Of all that an interpreter may have read while it imported: environment, directory, packages, our own files."""
    digest = hashlib.sha256(
        json.dumps([sorted(common_environment().items()), sys.executable, str(Path.cwd())]).encode()
    )
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    ours = [file for package in _PACKAGES for file in sorted((_ROOT / package).rglob("*.*"))]
    read = [Path(sysconfig.get_path("purelib")), home / "profiles.toml", *map(Path, _PREFECT_SETTINGS), *ours]
    for file in read:
        if "__pycache__" not in file.parts and file.exists():
            digest.update(f"{file} {file.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def new_socket() -> socket.socket:
    """Raises OSError where the system has no such sockets."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def require_own(peer: socket.socket) -> None:
    """Raises PermissionError unless the process at the other end belongs to the same user."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if user != os.getuid():
        raise PermissionError("another user's process is at the other end")


def encode(message: Mapping[str, object]) -> bytes:
    """One message."""
    return json.dumps(message).encode()
