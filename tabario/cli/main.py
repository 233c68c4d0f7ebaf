"""The command `tabario`. What only one subcommand needs is imported when it runs, so that each starts fast."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from tabario.cli.surroundings import adopt_running_stack, read_stack
from tabario.cli.webhooks import app as webhooks
from tabario.embedded.stack import Stack
from tabario.embedded.state import StackDirectory
from tabario.errors import TabarioError
from tabario.settings import CoreSettings, Settings
from tabario.settings_source import read_group
from tabario.tiers import Tier

app = typer.Typer(
    help="Turns a script into a narrated short video, as a Prefect flow deployment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(webhooks, name="webhooks")
AccessToken = Annotated[
    str,
    typer.Option(
        "--token", envvar="TABARIO_TOKEN", help="Access token of the user; that of `tabario token` when absent."
    ),
]

_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


@app.command()
def up() -> None:
    """Start the embedded stack and keep it running until Ctrl+C."""
    from tabario.cli.up import run_stack

    asyncio.run(run_stack(_read_stack(), _console))


@app.command()
def demo() -> None:
    """Make the sample film, on the running stack or on one of its own; the last line is the film's path."""
    from tabario.cli.demo import make_sample_film

    film = asyncio.run(make_sample_film(_read_directory(), _read_stack(), _console))
    sys.stdout.write(f"{film}\n")


@app.command()
def token(
    user_id: Annotated[
        UUID | None, typer.Option(help="The user; the same one each time when absent.", show_default=False)
    ] = None,
    tier: Annotated[Tier, typer.Option(help="The user's tier.")] = Tier.STANDARD,
    hours: Annotated[float, typer.Option(help="How long the token is valid.", min=0.01, max=168)] = 12,
) -> None:
    """Print a development token for the stack in this directory."""
    from tabario.cli.token import development_token

    directory = _read_directory()
    sys.stdout.write(
        f"{development_token(directory, user_id=str(user_id) if user_id else None, tier=tier, hours=hours)}\n"
    )


@app.command()
def submit(
    job: Annotated[
        Path,
        typer.Argument(
            help="JSON file with the body of POST /orchestrate/start; - for stdin.",
            exists=True,
            dir_okay=False,
            allow_dash=True,
        ),
    ],
    access_token: AccessToken = "",
    url: Annotated[str, typer.Option(help="Address of the front door.")] = "http://127.0.0.1:8000",
) -> None:
    """Post a job and print the reply."""
    from tabario.cli.front_door import FrontDoor

    async def call(body: str) -> dict[str, Any]:
        async with FrontDoor(url, access_token or _own_token()) as front_door:
            return await front_door.start(body)

    body = sys.stdin.read() if str(job) == "-" else job.read_text(encoding="utf-8")
    _console.print_json(data=asyncio.run(call(body)))


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="run_id or flow run id.")],
    access_token: AccessToken = "",
    url: Annotated[str, typer.Option(help="Address of the front door.")] = "http://127.0.0.1:8000",
) -> None:
    """Print what is known of a run."""
    from tabario.cli.front_door import FrontDoor

    async def call() -> dict[str, Any]:
        async with FrontDoor(url, access_token or _own_token()) as front_door:
            return await front_door.status(run)

    _console.print_json(data=asyncio.run(call()))


@app.command()
def deploy(
    *,
    diff: Annotated[bool, typer.Option("--diff", help="Only show what would change; exit code 2 if any.")] = False,
) -> None:
    """Register blocks, work pool, work queues and deployments with Prefect, unless ComfyUI lacks what they need."""
    from tabario.cli.deployment import Outcome
    from tabario.cli.deployment import deploy as register
    from tabario.cli.servers import approve_servers

    adopt_running_stack()
    settings = Settings.from_environment()
    if not diff:
        for check in asyncio.run(approve_servers(settings.comfyui)):
            _console.print(str(check))
    changes = asyncio.run(register(settings, write=not diff))
    for change in changes:
        _console.print(str(change), markup=False)
    if diff and any(change.outcome is not Outcome.UNCHANGED for change in changes):
        raise typer.Exit(2)


@app.command()
def servers(
    drain: Annotated[list[str] | None, typer.Option(help="Give this server, host:port, no new pictures.")] = None,
    refill: Annotated[list[str] | None, typer.Option(help="Give this server, host:port, new pictures again.")] = None,
) -> None:
    """Show the ComfyUI servers: what they have, what they lack, and whether they take new pictures."""
    from tabario.cli.servers import show_servers

    adopt_running_stack()
    _console.print(asyncio.run(show_servers(Settings.from_environment(), drain=drain or (), refill=refill or ())))


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Examine the deployment, and say how to mend what is wrong; exit code 1 if anything must be mended."""
    from tabario.cli.doctor import examine_deployment

    if not asyncio.run(examine_deployment(_console, as_json=as_json)):
        raise typer.Exit(1)


@app.command()
def prune(
    *, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False
) -> None:
    """Remove films and parts from the media store that are too old, or more than a user may keep."""
    from tabario.cli.prune import prune_store

    _console.print(str(asyncio.run(prune_store(write=not dry_run))))


@app.command(name="secrets")
def make_secrets(
    directory: Annotated[Path, typer.Argument(help="Where docker-compose.yml looks for them.")] = Path("secrets"),
    *,
    check: Annotated[bool, typer.Option("--check", help="Make none; fail when one is missing or weak.")] = False,
) -> None:
    """Make the secrets that docker-compose.yml needs; those that are there stay."""
    from tabario.cli.secret_files import check_secrets
    from tabario.cli.secret_files import make_secrets as make

    if check:
        check_secrets(directory)
        _console.print("Every secret is there, and hard to guess.")
        return
    for line in make(directory):
        _console.print(line)


@app.command(name="exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def execute(command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")]) -> None:
    """Run a command with its secrets read from files: NAME_FILE becomes NAME."""
    from tabario.cli.execution import replace_process

    replace_process(command)


@app.command()
def exporter() -> None:
    """Run the metrics exporter."""
    from monitoring.__main__ import main as serve

    serve()


def _own_token() -> str:
    from tabario.cli.token import development_token

    return development_token(_read_directory(), user_id=None, tier=Tier.STANDARD, hours=1)


def _read_directory() -> StackDirectory:
    return StackDirectory(read_group(CoreSettings).state_dir)


def _read_stack() -> Stack:
    return read_stack(_read_directory())


def main() -> None:
    """Runs the command line; an expected error is one sentence on stderr and exit code 1."""
    try:
        app()
    except TabarioError as error:
        _errors.print(f"tabario: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
