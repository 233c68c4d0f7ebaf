"""`make bench`: every benchmark, a table on the terminal and `build/bench.json`.

A benchmark is a function in a module of this package, under its name in the module's `BENCHMARKS`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

from rich.console import Console
from rich.table import Column, Table

from tests import benchmarks
from tests.benchmarks.figures import Figures
from tests.support.measured import dated, read, write

OUTPUT: Final = Path("build/bench.json")

Benchmark = Callable[[Console], Awaitable[Figures]]


def find_benchmarks() -> dict[str, Benchmark]:
    """Every benchmark by name."""
    found: dict[str, Benchmark] = {}
    for module in iter_modules(benchmarks.__path__):
        if module.name != "__main__":
            found |= getattr(import_module(f"{benchmarks.__name__}.{module.name}"), "BENCHMARKS", {})
    return found


async def run(chosen: dict[str, Benchmark], console: Console) -> dict[str, Figures]:
    """One after another: they share the machine with nothing else. Each is written down as soon as it is over."""
    results: dict[str, Figures] = {}
    for name, benchmark in chosen.items():
        console.print(f"[bold]{name}[/bold]")
        results[name] = await benchmark(console)
        keep(name, results[name])
    return results


def table_of(results: dict[str, Figures]) -> Table:
    """The figures for people."""
    columns = Column("benchmark", no_wrap=True), "ours", "baseline", "limit", "unit", "ratio", "spread", "rounds"
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    for name, one in results.items():
        numbers = [f"{number:.4g}" if number is not None else "-" for number in (one.ours, one.baseline, one.limit)]
        table.add_row(name, *numbers, one.unit, f"{one.ratio:.3f}", f"{one.spread:.0%}", str(one.rounds))
    return table


def keep(name: str, figures: Figures) -> None:
    """Writes the figures down; those of earlier runs of other benchmarks stay."""
    write(OUTPUT, {**(read(OUTPUT) or {}), name: dated(figures.as_json())})


def main() -> None:
    """Exit code 1 when there is no such benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help="the name of one benchmark")
    only = parser.parse_args().only
    console, found = Console(highlight=False), find_benchmarks()
    if only and only not in found:
        sys.exit(f"There is no benchmark {only!r}; there are: {', '.join(sorted(found))}.")
    results = asyncio.run(run({only: found[only]} if only else found, console))
    console.print(table_of(results))


if __name__ == "__main__":
    main()
