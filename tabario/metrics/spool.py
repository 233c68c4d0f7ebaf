"""Events on disk that one process could not send and a later one will. One file per process, written at its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from tabario.metrics.ledger import Event

_EVENTS: Final = TypeAdapter(list[Event])
_logger = logging.getLogger(__name__)


class Spool:
    """The files of one directory. Two processes may send the same file: its events keep their ids."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_empty(self) -> bool:
        """Whether nothing waits on disk."""
        return next(self._directory.glob("*.spool"), None) is None

    def write(self, events: Sequence[Event]) -> None:
        """Keeps the events. They are lost, with a line in the log, if the disk refuses."""
        path = self._directory / f"{uuid4().hex}.spool"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(_EVENTS.dump_json(list(events)))
            part.replace(path)
        except OSError:
            _logger.exception("Lost %d observations: they could be neither sent nor kept on disk.", len(events))

    def files(self) -> Iterator[tuple[Path, list[Event]]]:
        """Each file with its events. A file that another process took is passed over, a broken one removed."""
        for path in sorted(self._directory.glob("*.spool")):
            try:
                yield path, _EVENTS.validate_json(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValidationError):
                _logger.exception("Passed over a spool file of observations that cannot be read.")
                self.remove(path)

    def remove(self, path: Path) -> None:
        """Deletes a file whose events are counted."""
        try:
            path.unlink(missing_ok=True)
        except OSError:
            _logger.exception("Could not delete a spool file; its events stay counted once for a day.")
