"""`tabario demo`: the sample job from submission to film, as an app would do it over HTTP."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from tabario.cli.front_door import FrontDoor
from tabario.cli.token import development_token
from tabario.cli.up import ConsoleListener, cancel_on_signals
from tabario.embedded.stack import Stack
from tabario.embedded.state import StackDirectory
from tabario.errors import StageFailed
from tabario.tiers import Tier

POLL_SECONDS: Final = 0.3
ENDED: Final = frozenset({"completed", "failed", "crashed", "cancelled"})


async def make_sample_film(directory: StackDirectory, stack: Stack, console: Console) -> Path:
    """Makes the sample film and returns its path. Raises StageFailed when the job ends without one."""
    cancel_on_signals()
    async with AsyncExitStack() as exits:
        running = directory.running()
        if running is None:
            console.print("No stack runs here: starting one for this demo.")
            running = await exits.enter_async_context(stack.running(ConsoleListener(console)))
        token = development_token(directory, user_id=str(uuid4()), tier=Tier.STANDARD, hours=1)
        front_door = await exits.enter_async_context(FrontDoor(running.api_url, token))
        return await _make_film(front_door, directory.root / "demo", console)


async def _make_film(front_door: FrontDoor, films: Path, console: Console) -> Path:
    begun = time.monotonic()
    sample = (files("tabario.cli") / "sample_job.json").read_text(encoding="utf-8")
    run = (await front_door.start(sample))["run_id"]
    console.print(f"Accepted as run {run}.")
    status = await _follow(front_door, run, console)
    if status["state"] != "completed":
        failure = status.get("failure") or {"stage": status["stage"], "message": f"the run is {status['state']}"}
        raise StageFailed(f"The job ended without a film. {failure['stage']}: {failure['message']}")
    film = films / f"{run}.mp4"
    await front_door.download(run, film)
    facts = status["film"]
    console.print(
        f"A film of {facts['duration']:.1f} s at {facts['width']}x{facts['height']}, "
        f"made in {time.monotonic() - begun:.1f} s."
    )
    return film


async def _follow(front_door: FrontDoor, run: str, console: Console) -> dict[str, Any]:
    """Shows the run's progress until it ends; returns its last status."""
    columns = (
        TextColumn("  {task.description:<40}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
    )
    shown: tuple[str, int] | None = None
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("Waiting for a worker.", total=1.0, left="")
        while True:
            status = await front_door.status(run)
            left = status["seconds_left"]
            note = f"about {left:.0f} s left" if left else ""
            progress.update(bar, completed=status["progress"], description=status["message"], left=note)
            tenths = 0 if console.is_terminal else int(10 * status["progress"])  # a log has no bar
            if (status["message"], tenths) != shown:
                shown = status["message"], tenths
                progress.console.print(f"  {status['progress']:>4.0%}  {status['message']:<40} {note}")
            if status["state"] in ENDED:
                return status
            await asyncio.sleep(POLL_SECONDS)
