"""The two kinds of rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

SERVICE: Final = "tabario"


class Severity(StrEnum):
    """How soon somebody has to look: now, or on the next working day."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True)
class Recording:
    """A query whose answer Prometheus keeps under a name."""

    name: str
    expr: str

    def document(self) -> dict[str, Any]:
        """The rule as a rule file has it."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True)
class Alert:
    """Fires when `expr` has answered for `hold`, a duration; at once when that is None.

    `description` may hold Prometheus's templates, labels may not: a label that changes would make another alert.
    """

    name: str
    expr: str
    hold: str | None
    severity: Severity
    summary: str
    description: str

    @property
    def page(self) -> str:
        """File name of the alert's runbook."""
        return f"{re.sub(r'(?<=[a-z])(?=[A-Z])', '-', self.name).lower()}.md"

    def document(self, *, runbooks: str) -> dict[str, Any]:
        """The rule as a rule file has it. `runbooks` is where the runbooks are found."""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": self.hold} if self.hold else {}),
            "labels": {"severity": self.severity.value, "service": SERVICE},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks.rstrip('/')}/{self.page}",
            },
        }
