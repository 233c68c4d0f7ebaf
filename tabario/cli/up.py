"""`tabario up`: the embedded stack, kept running."""

from __future__ import annotations

import asyncio
import signal
import sys

from rich.console import Console

from tabario.embedded.stack import Stack
from tabario.embedded.state import RunningStack


class ConsoleListener:
    """Tells the terminal what happens to the services."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, service: str, *, seconds: float) -> None:
        """A service answers."""
        self._console.print(f"  {service:<18} ready after {seconds:.1f} s")

    def ended(self, service: str, *, code: int, pause: float) -> None:
        """A service ended by itself."""
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._console.print(f"  {service:<18} [yellow]{how}; starting it again in {pause:.1f} s[/yellow]")


async def run_stack(stack: Stack, console: Console) -> None:
    """Runs the stack until SIGINT or SIGTERM."""
    cancel_on_signals()
    console.print("Starting the stack. The first start prepares Prefect's database and takes longest.", soft_wrap=True)
    try:
        async with stack.running(ConsoleListener(console)) as running:
            _print_addresses(running, console)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.print("Stopped.")


def cancel_on_signals() -> None:
    """Makes SIGINT and SIGTERM cancel the calling task, so that its context managers end what they started.

    Raises RuntimeError outside a task.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("Signals can only cancel a task, and none runs here.")
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _print_addresses(running: RunningStack, console: Console) -> None:
    console.print(
        f"\n  Prefect UI         {running.prefect_url}"
        f"\n  Front door         {running.api_url}/docs"
        f"\n  Metrics            {running.api_url}/metrics  and  {running.exporter_url}/metrics"
        f"\n  ComfyUI            {running.comfyui_url}"
        f"\n  A token            {sys.argv[0]} token"
        "\n  A film             make demo, in another terminal"
        "\n  To stop            Ctrl+C\n",
        soft_wrap=True,
    )
