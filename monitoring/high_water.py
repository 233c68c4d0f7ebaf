"""The highest totals ever read, kept in a file outside Redis.

A Redis that came back from an older file holds smaller totals. Prometheus would take that for a reset and count all
of them once more, so the loss has to be seen here, also by an exporter that was restarted in between.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from tabario.metrics.ledger import Totals

KEPT_EPOCHS: Final = 100

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HighWater:
    """The last accepted totals, and the epochs that ended before theirs."""

    totals: Totals
    ended_epochs: tuple[str, ...] = ()

    def is_rolled_back(self, totals: Totals) -> bool:
        """Whether Redis holds less than it once did, or an epoch that had ended."""
        if totals.epoch != self.totals.epoch:
            return totals.epoch in self.ended_epochs
        return any(value > totals.values.get(name, 0.0) for name, value in self.totals.values.items())

    def accept(self, totals: Totals) -> HighWater:
        """The mark after these totals. Equal ones leave it as it is, with the time of the read that first saw them."""
        if totals == self.totals:
            return self
        if totals.epoch == self.totals.epoch or self.totals.epoch is None:
            return replace(self, totals=totals)
        return HighWater(totals, (*self.ended_epochs, self.totals.epoch)[-KEPT_EPOCHS:])


NOTHING_YET: Final = HighWater(Totals(epoch=None, values={}))
_FILE: Final = TypeAdapter(HighWater)


class HighWaterFile:
    """Where the mark outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> HighWater:
        """The mark; nothing yet when there is no file or a broken one."""
        try:
            return _FILE.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return NOTHING_YET
        except (OSError, ValidationError):
            _logger.exception("Cannot read the high-water mark; a loss in Redis before now goes unseen.")
            return NOTHING_YET

    def write(self, mark: HighWater) -> None:
        """Replaces the file. A full disk does not stop the exporter: the mark lives on in memory."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(f".{uuid4().hex}.part")  # two exporters may share the directory
            part.write_bytes(_FILE.dump_json(mark))
            part.replace(self._path)
        except OSError:
            _logger.exception("Cannot write the high-water mark.")
