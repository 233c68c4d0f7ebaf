"""`make chaos`: breaks the running stack on purpose and checks that every promise was kept."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tabario.cli.up import cancel_on_signals
from tests.chaos.arena import open_arena
from tests.chaos.campaign import Campaign
from tests.chaos.checker import Checker
from tests.chaos.faults import FAULTS, SLOW
from tests.chaos.report import Report, draw_up, settle
from tests.support.arguments import positive


async def run(directory: Path, console: Console, *, faults: Sequence[str], seconds: float, seed: int) -> Report:
    """One campaign on a stack in `directory`."""
    cancel_on_signals()
    console.print(f"chaos for {seconds:.0f} s, seed {seed}; the stack and its logs are in {directory}")
    async with open_arena(directory, console) as arena:
        checker = Checker(arena.witness, arena.ledger.limits)
        campaign = Campaign(arena, console, seconds=seconds, seed=seed, faults=faults)
        with checker.looking():
            await campaign.run()
            await settle(arena)
        return await draw_up(arena, checker, campaign.records, console, seconds=seconds)


def main() -> None:
    """Exit code 1 when a promise was broken, or a fault was not made or did not heal."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=90, help="how long faults are made, at least")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="decides their order")
    parser.add_argument("--quick", action="store_true", help="only faults that heal within 20 s")
    parser.add_argument("--output", type=Path, default=Path("build/chaos.json"), help="where the figures go")
    parser.add_argument("--keep", type=Path, help="a directory for the stack's state and logs, to be kept")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="tabario-chaos-", ignore_cleanup_errors=True) as temporary:
        directory = options.keep or Path(temporary)
        faults = [name for name in FAULTS if not (options.quick and name in SLOW)]
        report = asyncio.run(run(directory, console, faults=faults, seconds=options.seconds, seed=options.seed))
    report.show(console)
    report.write(options.output)
    sys.exit(not report.is_good)


if __name__ == "__main__":
    main()
