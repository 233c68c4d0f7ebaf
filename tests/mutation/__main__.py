"""`make mutants`: changes the slots in one place at a time, and says which changes no test notices.

The mutants stand in `mutants/`. What a run has not reached, the next one goes on with, so it may be stopped any time;
a module counts when all its mutants were tried.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil
from mutmut.stats import status_by_exit_code
from rich.console import Console

from tests.support.arguments import positive
from tests.support.measured import day_of, write
from tests.support.servers import PrefectServer, RedisServer, as_kept_servers, prefect_running, redis_running

OUTPUT: Final = Path("build/mutants.json")
RESULTS: Final = Path("mutants/tabario/slots")
AT_ONCE: Final = 5
"""Mutants tried at once, each on servers of its own: most of the time is that of tests which wait for what a
mutant keeps from coming."""
ENDS: Final = {
    "survived": "survived",
    "killed": "killed",
    "timeout": "killed",
    "segfault": "killed",
    "no tests": "untested",
    "suspicious": "unclear",
}
"""By mutmut's words; every other one is that of a mutant that was not tried to the end."""
NOT_TRIED: Final = "not tried"


def mutate(seconds: float, chosen: list[str]) -> None:
    """Tries mutants, `AT_ONCE` at a time and the quickest first, until all are done or so many seconds are over."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory()))
        pairs = [_servers(root / str(number), stack) for number in range(AT_ONCE)]
        environment = {**os.environ, **as_kept_servers(*pairs)}
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(AT_ONCE), *chosen]
        with subprocess.Popen(command, env=environment) as process:
            try:
                code = process.wait(seconds)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                first = psutil.Process(process.pid)
                for one in [*first.children(recursive=True), first]:
                    one.terminate()
                return
    if code:
        sys.exit(f"mutmut ended with {code}.")


def _servers(directory: Path, stack: ExitStack) -> tuple[RedisServer, PrefectServer]:
    directory.mkdir()
    redis = stack.enter_context(redis_running(directory))
    return redis, stack.enter_context(prefect_running(directory, redis))


def read(results: Path) -> dict[str, Any]:
    """What came of each module, by its name, once all its mutants were tried.

    That is: on which day, how many there are, how many ended in which way, and by name those that no test noticed,
    each with an empty text.
    """
    return {meta.name.partition(".")[0]: found for meta in sorted(results.glob("*.meta")) if (found := _module(meta))}


def _module(meta: Path) -> dict[str, Any] | None:
    codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    status = {mutant: ENDS.get(status_by_exit_code[code], NOT_TRIED) for mutant, code in codes.items()}
    if not status or NOT_TRIED in status.values():
        return None
    return {
        "day": day_of(datetime.fromtimestamp(meta.stat().st_mtime, UTC)),
        "mutants": len(status),
        "ends": dict(Counter(status.values())),
        "noticed_by_nobody": {mutant: "" for mutant, end in status.items() if end in {"survived", "untested"}},
    }


def change_of(diff: str) -> str:
    """What was replaced by what, on one line, from a unified diff."""
    lines = [line for line in diff.splitlines() if line[:1] in {"-", "+"} and line[:3] not in {"---", "+++"}]
    old, new = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return f"{old} → {new}"


def _show(mutant: str) -> str:
    command = [sys.executable, "-m", "mutmut", "show", mutant]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Writes build/mutants.json, by module; shows each change that no test notices."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=8 * 3600, help="when to stop")
    parser.add_argument("mutants", nargs="*", help="names of mutants, as patterns; all if none is given")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers end with it, and what was tried is written
    mutate(options.seconds, options.mutants)
    console, found = Console(highlight=False, markup=False), read(RESULTS)
    for name, module in found.items():
        for mutant in module["noticed_by_nobody"]:
            module["noticed_by_nobody"][mutant] = change_of(_show(mutant))
            console.print(mutant, module["noticed_by_nobody"][mutant])
        console.print(f"{name}: {module['mutants']} mutants, {module['ends']}")
    write(OUTPUT, found)


if __name__ == "__main__":
    main()
