"""The embedded stack's directory: secrets made once, logs, and the note that a stack is running here."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tabario.errors import ConfigurationError


class StackSecrets(BaseModel):
    """Secrets of one embedded stack. They are made at the first start and kept."""

    model_config = ConfigDict(frozen=True)

    redis_password: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    development_key: str = Field(default_factory=lambda: secrets.token_urlsafe(48))


class RunningStack(BaseModel):
    """Where the parts of a running stack are found."""

    model_config = ConfigDict(frozen=True)

    pid: int
    api_url: str
    prefect_url: str
    exporter_url: str
    comfyui_url: str


class StackDirectory:
    """Everything the embedded stack keeps, in one directory that `make clean` removes."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._note = self.root / "stack.json"
        self._secrets = self.root / "secrets.json"

    def log(self, service: str) -> Path:
        """Log file of a service."""
        return self.root / "logs" / f"{service}.log"

    @property
    def is_used(self) -> bool:
        """Whether a stack was ever started here."""
        return self._secrets.exists()

    def secrets(self) -> StackSecrets:
        """The stack's secrets, made and kept (readable by their owner only) when there are none yet."""
        self._make()
        if not self._secrets.exists():
            aside = self._secrets.with_suffix(".part")
            aside.unlink(missing_ok=True)
            aside.touch(mode=0o600)
            aside.write_text(StackSecrets().model_dump_json(), encoding="utf-8")
            aside.rename(self._secrets)
        return StackSecrets.model_validate_json(self._secrets.read_text(encoding="utf-8"))

    def running(self) -> RunningStack | None:
        """The stack that runs in this directory and is ready, or None."""
        if not self._note.exists() or not self._is_locked():
            return None
        return RunningStack.model_validate_json(self._note.read_text(encoding="utf-8"))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the directory for one stack. Raises ConfigurationError when another one has it."""
        self._make()
        with self._lock_file.open("a+") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.seek(0)
                raise ConfigurationError(
                    f"A stack already runs in {self.root.name} (process {held.read().strip() or 'unknown'}): "
                    "stop it first, or set TABARIO_STATE_DIR to another directory and give it other ports."
                ) from None
            held.truncate(0)
            held.write(str(os.getpid()))
            held.flush()
            self._note.unlink(missing_ok=True)
            try:
                yield
            finally:
                self._note.unlink(missing_ok=True)

    def announce(self, stack: RunningStack) -> None:
        """Notes that the stack is ready."""
        aside = self._note.with_suffix(".part")
        aside.write_text(stack.model_dump_json(), encoding="utf-8")
        aside.rename(self._note)

    @property
    def _lock_file(self) -> Path:
        return self.root / "stack.lock"

    def _is_locked(self) -> bool:
        with self._lock_file.open("a") as probe:
            try:
                fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def _make(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)  # films, scripts and secrets are nobody else's
        (self.root / "logs").mkdir(exist_ok=True, mode=0o700)
