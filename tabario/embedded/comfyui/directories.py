"""The stand-in's directories: where pictures are saved, uploaded, looked for and counted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

_ANNOTATION: Final = re.compile(r"^(?P<name>.*) \[(?P<kind>output|temp|input)\]$")


class Outside(Exception):
    """A path that leaves its directory."""


class Directories:
    """`output`, `temp` and `input` under one root. `temp` is emptied at the start, the others stay."""

    KINDS: Final = ("output", "temp", "input")

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        shutil.rmtree(self._root / "temp", ignore_errors=True)
        for kind in self.KINDS:
            (self._root / kind).mkdir(parents=True, exist_ok=True)

    def subfolder(self, kind: str, subfolder: str) -> Path:
        """A directory below `kind`, there or not. Raises Outside."""
        base = self._root / kind
        directory = (base / subfolder).resolve()
        if not directory.is_relative_to(base):
            raise Outside
        return directory

    def find_input(self, name: str) -> Path | None:
        """The file that LoadImage means by "name", "subfolder/name" or "name [temp]"."""
        name, kind = annotated(name)
        kind = kind or "input"
        try:
            path = self.subfolder(kind, name)
        except Outside:
            return None
        return path if path.is_file() else None

    def next_output(self, kind: str, prefix: str) -> tuple[Path, str]:
        """Path for the next picture with this prefix, and the subfolder it is in. Raises Outside.

        Counts on from the files that are there, so a deleted file's number is used again.
        """
        folder, _, stem = prefix.rpartition("/")
        directory = self.subfolder(kind, folder)
        directory.mkdir(parents=True, exist_ok=True)
        pattern = re.compile(rf"{re.escape(stem)}_(\d+)_\.png")
        taken = [int(match[1]) for path in directory.iterdir() if (match := pattern.fullmatch(path.name))]
        return directory / f"{stem}_{max(taken, default=0) + 1:05}_.png", folder


def annotated(name: str) -> tuple[str, str | None]:
    """Splits "name [temp]" into the name and the directory; without a note the directory is None."""
    match = _ANNOTATION.match(name)
    return (match["name"], match["kind"]) if match else (name, None)
