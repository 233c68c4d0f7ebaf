"""`tabario webhooks`: what became of completion webhooks, and sending one again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, TypeVar

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from tabario.cli.surroundings import adopt_running_stack
from tabario.errors import RetryLater
from tabario.settings import RedisSettings
from tabario.settings_source import read_group
from tabario.slots.clock import utc_now
from tabario.webhooks.messages import Delivery, Message
from tabario.webhooks.outbox import Outbox

REDIS_SECONDS: Final = 5.0
TIME: Final = "%Y-%m-%d %H:%M:%S"
EVERYTHING: Final = 1_000_000

app = typer.Typer(help="Completion webhooks: list them, look at one, send one again.", no_args_is_help=True)
_console = Console(highlight=False)

T = TypeVar("T")


@app.command(name="list")
def list_webhooks(
    *,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest webhooks and what became of them."""
    messages = _ask(lambda outbox: outbox.latest(limit=limit))
    if as_json:
        _console.print_json(json.dumps([_summary(message) for message in messages]))
    else:
        _console.print(_table(messages))


@app.command()
def show(message_id: Annotated[str, typer.Argument(help="The webhook's id, msg_...")]) -> None:
    """Print one webhook: its body and the log of its attempts."""
    message = _ask(lambda outbox: outbox.find(message_id))
    _console.print_json(json.dumps({**message.model_dump(mode="json"), "body": json.loads(message.body)}))


@app.command()
def replay(
    *,
    message_id: Annotated[str, typer.Argument(help="The webhook's id, msg_...; leave it out with --given-up.")] = "",
    given_up: Annotated[bool, typer.Option("--given-up", help="All that no more attempts are made for.")] = False,
) -> None:
    """Send a webhook again, under its own id, with all attempts before it."""
    if bool(message_id) == given_up:
        raise typer.BadParameter("name one webhook, or say --given-up")

    async def again(outbox: Outbox) -> list[str]:
        ids = [message_id]
        if given_up:
            kept = await outbox.latest(limit=EVERYTHING)
            ids = [message.id for message in kept if message.delivery is Delivery.GIVEN_UP]
        return [(await outbox.replay(one, utc_now())).id for one in ids]

    for one in (replayed := _ask(again)):
        _console.print(f"{one} is due now.")
    if not replayed:
        _console.print("There is none.")


def _ask(question: Callable[[Outbox], Awaitable[T]]) -> T:
    """Asks the outbox in the Redis of the settings, or of the stack that runs here."""
    adopt_running_stack()
    url = read_group(RedisSettings).url.get_secret_value()

    async def ask() -> T:
        async with Redis.from_url(
            url, decode_responses=True, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
        ) as redis:
            return await question(Outbox(redis))

    try:
        return asyncio.run(ask())
    except RedisError:
        raise RetryLater("Redis does not answer; `tabario doctor` says more.") from None


def _summary(message: Message) -> dict[str, object]:
    last = message.attempts[-1] if message.attempts else None
    return {
        "id": message.id,
        "event": message.event,
        "run_id": message.run_id,
        "created_at": message.created_at.isoformat(),
        "delivery": message.delivery,
        "attempts": len(message.attempts),
        "last": str(last) if last else None,
    }


def _table(messages: Sequence[Message]) -> Table:
    table = Table("id", "event", "run", "since", "delivery", "attempts", "last", box=None, pad_edge=False)
    table.columns[0].no_wrap, table.columns[0].min_width = True, max((len(one.id) for one in messages), default=0)
    for message in messages:
        summary = _summary(message)
        table.add_row(
            message.id,
            message.event,
            message.run_id,
            message.created_at.strftime(TIME),
            message.delivery,
            str(summary["attempts"]),
            str(summary["last"] or ""),
        )
    return table
