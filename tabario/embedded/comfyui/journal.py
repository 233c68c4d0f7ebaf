"""What the stand-in has run: one JSON line a prompt, so that tests can count the pictures that were paid for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    LOST = "lost"


@dataclass(frozen=True)
class Run:
    """One execution of a prompt. Times are seconds since 1970; `images` counts pictures painted, not cached ones."""

    prompt_id: str
    number: float
    extra_data: dict[str, Any] | None
    status: Outcome
    started: float
    ended: float
    images: int
    filename_prefix: str | None


class Journal:
    """A file of JSON lines that outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()

    def write(self, run: Run) -> None:
        """Adds a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(run)) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Every line, oldest first."""
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
