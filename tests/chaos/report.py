"""What a campaign showed: the table and `build/chaos.json`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.table import Column, Table

from tests.chaos.arena import Arena
from tests.chaos.campaign import FaultRecord
from tests.chaos.checker import Checker, lost, metric_errors, paid_twice
from tests.support.measured import dated, write

QUIET_SECONDS: Final = 240.0
COUNT_SECONDS: Final = 40.0
"""The exporter polls every ten seconds, and a count may wait for Redis to come back."""


@dataclass(frozen=True)
class Report:
    """The figures of a campaign that made faults for `seconds`; all of `VIOLATIONS` must be 0.

    Each of the submissions was accepted, refused for want of a slot (409), put off (503), not answered, or answered
    in a way that no caller could do anything with.
    """

    seconds: float
    submissions: int
    accepted: int
    refused: int
    put_off: int
    unanswered: int
    wrong_answers: int
    oversold: int
    leaked: int
    images_paid_twice: int
    metric_errors: int
    jobs_lost: int
    faults: Mapping[str, FaultRecord]

    VIOLATIONS = ("wrong_answers", "oversold", "leaked", "images_paid_twice", "metric_errors", "jobs_lost")

    @property
    def is_good(self) -> bool:
        """Whether nothing was violated, and each fault was made and healed."""
        kept = not any(getattr(self, name) for name in self.VIOLATIONS)
        return kept and all(record.injected and not record.unhealed for record in self.faults.values())

    def write(self, path: Path) -> None:
        """Writes the figures as JSON."""
        figures = asdict(self)
        figures["faults"] = {
            name: {
                "injected": record.injected,
                "unhealed": record.unhealed,
                "healed_max_s": record.healed_max_s,
            }
            for name, record in self.faults.items()
        }
        write(path, dated(figures))

    def show(self, console: Console) -> None:
        """Prints the table."""
        table = Table(Column("fault", no_wrap=True), "injected", "healed, median s", "longest s", "not healed")
        for name, record in self.faults.items():
            table.add_row(
                name,
                str(record.injected),
                f"{record.healed_median_s:.1f}",
                f"{record.healed_max_s:.1f}",
                str(record.unhealed),
                style="red" if record.unhealed or not record.injected else None,
            )
        console.print(table)
        console.print(
            f"submissions {self.submissions} = accepted {self.accepted} + refused {self.refused} + put off "
            f"{self.put_off} + unanswered {self.unanswered} + wrong answers {self.wrong_answers}",
            soft_wrap=True,
        )
        console.print(", ".join(f"{name.replace('_', ' ')} {getattr(self, name)}" for name in self.VIOLATIONS))


async def settle(arena: Arena) -> None:
    """Waits until every run has ended and every slot is free, for a bounded time."""
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        if not any(run.ended is None for run in arena.witness.runs()) and not sum(arena.witness.taken().values()):
            return
        await asyncio.sleep(0.5)


async def draw_up(
    arena: Arena, checker: Checker, faults: Mapping[str, FaultRecord], console: Console, *, seconds: float
) -> Report:
    """The report, once everything is quiet."""
    runs = arena.witness.runs()
    errors = await _count_errors(arena)
    log = (await arena.http.get(f"{arena.comfyui_url}/standin/log")).raise_for_status().json()["runs"]
    ended = Counter(run.state for run in runs)
    answers = arena.ledger.answers
    known = {None, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE}
    console.print(f"ended: {dict(ended)}; the database was looked at {checker.looks} times", soft_wrap=True)
    if errors:
        console.print(f"counters off by: {errors}")
    return Report(
        seconds=seconds,
        submissions=answers.total(),
        accepted=answers[HTTPStatus.ACCEPTED],
        refused=answers[HTTPStatus.CONFLICT],
        put_off=answers[HTTPStatus.SERVICE_UNAVAILABLE],
        unanswered=answers[None],
        wrong_answers=sum(count for answer, count in answers.items() if answer not in known),
        oversold=len(checker.oversold),
        leaked=sum(arena.witness.taken().values()),
        images_paid_twice=paid_twice(log),
        metric_errors=len(errors),
        jobs_lost=len(lost(arena.ledger.accepted, runs)),
        faults=faults,
    )


async def _count_errors(arena: Arena) -> dict[str, float]:
    """What the exporter's counters have wrong once they had time to catch up."""
    deadline = time.monotonic() + COUNT_SECONDS
    while True:
        try:
            exposition = (await arena.http.get(f"{arena.stack.exporter_url}/metrics")).raise_for_status().text
            errors = metric_errors(exposition, arena.witness.runs())
        except httpx.HTTPError:
            errors = {"no answer": 1.0}
        if not errors or time.monotonic() > deadline:
            return errors
        await asyncio.sleep(1)
