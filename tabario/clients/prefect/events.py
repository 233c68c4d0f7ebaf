"""Prompt notice of runs that ended, from Prefect's event stream.

Only a hint: events may be late, doubled or lost, so whoever listens also looks at the runs themselves now and then.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import anyio
from pydantic import BaseModel, Field
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tabario.clients.prefect.models import TERMINAL_TYPES
from tabario.errors import RetryLater
from tabario.settings import PrefectSettings

RECONNECT_SECONDS: Final = 1.0
RUN_PREFIX: Final = "prefect.flow-run."

log = logging.getLogger(__name__)


class _Resource(BaseModel):
    id: str = Field(alias="prefect.resource.id")
    state_type: str | None = Field(default=None, alias="prefect.state-type")


class _Event(BaseModel):
    resource: _Resource


class _Message(BaseModel):
    type: str
    event: _Event


async def watch_endings(settings: PrefectSettings) -> AsyncIterator[UUID]:
    """Yields the id of each flow run that reaches a terminal state, for ever; connects again when it must."""
    while True:
        try:
            async with connect(events_url(settings), subprotocols=[Subprotocol("prefect")]) as socket:
                await _subscribe(socket, settings)
                async for text in socket:
                    if flow_run_id := ended_run(text):
                        yield flow_run_id
        except (OSError, WebSocketException, RetryLater, TimeoutError) as error:
            log.info("Prefect's event stream broke off (%s); connecting again.", type(error).__name__)
        await anyio.sleep(RECONNECT_SECONDS)


def events_url(settings: PrefectSettings) -> str:
    """Address of the stream of events."""
    return f"{settings.url.rstrip('/').replace('http', 'ws', 1)}/events/out"


async def _subscribe(socket: ClientConnection, settings: PrefectSettings) -> None:
    token = settings.auth_string.get_secret_value() if settings.auth_string else None
    await socket.send(json.dumps({"type": "auth", "token": token}))
    if json.loads(await socket.recv()).get("type") != "auth_success":
        raise RetryLater("Prefect refuses our credentials for its events.")
    await socket.send(json.dumps({"type": "filter", "filter": _filter(datetime.now(UTC)), "backfill": False}))


def _filter(now: datetime) -> dict[str, Any]:
    # Without bounds of its own the filter would end now.
    bounds = {"since": (now - timedelta(minutes=1)).isoformat(), "until": (now + timedelta(days=365)).isoformat()}
    return {"event": {"prefix": [RUN_PREFIX]}, "occurred": bounds}


def ended_run(text: str | bytes) -> UUID | None:
    """Id of the flow run that a message reports as ended, or None when it reports something else."""
    try:
        resource = _Message.model_validate_json(text).event.resource
        kind, _, flow_run_id = resource.id.rpartition(".")
        ended = kind == "prefect.flow-run" and resource.state_type in TERMINAL_TYPES
        return UUID(flow_run_id) if ended else None
    except ValueError:
        return None
