"""Runs all checks at once; one that breaks or hangs is a finding like others."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from tabario.doctor.findings import Check, Finding, fail
from tabario.errors import TabarioError

CHECK_SECONDS: Final = 30.0

log = logging.getLogger(__name__)


async def examine(checks: Mapping[str, Check], *, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """The findings of each check, in the order of the checks."""
    found: dict[str, Sequence[Finding]] = {}

    async def run(name: str, check: Check) -> None:
        found[name] = await _outcome(name, check, seconds)

    async with anyio.create_task_group() as group:
        for name, check in checks.items():
            group.start_soon(run, name, check)
    return [finding for name in checks for finding in found[name]]


async def _outcome(name: str, check: Check, seconds: float) -> Sequence[Finding]:
    try:
        with anyio.fail_after(seconds):
            return await check()
    except TimeoutError:
        return [fail(name, f"No answer within {seconds:.0f} s.", "See whether it hangs, or a firewall drops packets.")]
    except TabarioError as error:
        return [fail(name, str(error), "Mend what the sentence names.")]
    except Exception as error:  # a fault that nobody foresaw must not hide the others
        log.warning("The check %s broke.", name, exc_info=error)
        return [fail(name, f"The check broke ({type(error).__name__}).", "Report it, with what is on standard error.")]
