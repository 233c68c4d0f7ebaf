"""What an examination finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`warn` may be meant so; `fail` must be mended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `check` is a stable name; `mend` says what to do, and is empty when all is well."""

    check: str
    verdict: Verdict
    message: str
    mend: str = ""


Check = Callable[[], Awaitable[Sequence[Finding]]]
"""Looks at one part. What it raises is a failure of that part."""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, message)


def warn(check: str, message: str, mend: str) -> Finding:
    """It works, but may not be meant so."""
    return Finding(check, Verdict.WARN, message, mend)


def fail(check: str, message: str, mend: str) -> Finding:
    """It does not work, or not safely."""
    return Finding(check, Verdict.FAIL, message, mend)
