"""Files of what was measured, in `build/`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def dated(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with today's `day` and the number of this machine's `cores`."""
    return {"day": day_of(datetime.now(UTC)), "cores": os.cpu_count(), **figures}


def day_of(moment: datetime) -> str:
    """As in 2026-01-31."""
    return moment.date().isoformat()


def write(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes an object of JSON; makes the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any] | None:
    """What was written, or None."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
