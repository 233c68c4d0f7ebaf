"""The ComfyUI servers as an operator sees them: what they lack for our workflows, and who takes new pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from rich.table import Table

from tabario.clients.comfyui import ComfyUIClient, Patience, server_name
from tabario.errors import ConfigurationError, RetryLater
from tabario.places.board import Board, ServerState
from tabario.settings import ComfyUISettings, Settings
from tabario.styles import STYLES
from tabario.styles.workflow import missing_parts

_PATIENCE: Final = Patience(image=1)  # nothing is painted here


@dataclass(frozen=True)
class ServerCheck:
    """What one server said. `version` is None when it did not answer; then nothing is known to be missing."""

    server: str
    version: str | None
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.version is None:
            return f"ComfyUI {self.server}: does not answer, so its nodes and models are not checked"
        return f"ComfyUI {self.server}: version {self.version} has what the workflows need"


async def check_servers(settings: ComfyUISettings) -> list[ServerCheck]:
    """Compares the workflow of every style with what each server has."""
    return list(await asyncio.gather(*(_check(url) for url in settings.urls)))


async def approve_servers(settings: ComfyUISettings) -> list[ServerCheck]:
    """The same; raises ConfigurationError, which names every node class and model that a server lacks."""
    checks = await check_servers(settings)
    complaints = [f"ComfyUI {check.server}: {sentence}" for check in checks for sentence in check.missing]
    if complaints:
        raise ConfigurationError("\n".join(complaints))
    return checks


async def show_servers(settings: Settings, *, drain: Sequence[str], refill: Sequence[str]) -> Table:
    """The servers, after some were taken out of use or back into it. Raises ConfigurationError for an unknown one."""
    known = {server_name(url) for url in settings.comfyui.urls}
    for name in (*drain, *refill):
        if name not in known:
            raise ConfigurationError(
                f"TABARIO_COMFYUI_URL names no server {name}; it names {', '.join(sorted(known))}."
            )
    async with Redis.from_url(settings.redis.url.get_secret_value()) as redis:
        board = Board(redis, places=settings.comfyui.places)
        for name in drain:
            await board.drain(name)
        for name in refill:
            await board.refill(name)
        checks = await check_servers(settings.comfyui)
        states = await board.states([check.server for check in checks])
    return _table(checks, states)


def _table(checks: Sequence[ServerCheck], states: dict[str, ServerState]) -> Table:
    table = Table("server", "version", "pictures", "takes new ones", "lacks")
    for check in checks:
        state = states[check.server]
        takes = "no, draining" if state.draining else "no, it failed" if state.closed else "yes"
        version = check.version or "does not answer"
        table.add_row(check.server, version, str(state.pictures), takes, "\n".join(check.missing) or "nothing")
    return table


async def _check(url: str) -> ServerCheck:
    name = server_name(url)
    try:
        async with ComfyUIClient(url, patience=_PATIENCE) as client:
            version = (await client.system_stats()).version
            known = await client.object_info()
    except RetryLater:
        return ServerCheck(name, None)
    workflows = sorted({style.workflow for style in STYLES.values()})
    missing = [sentence for workflow in workflows for sentence in missing_parts(workflow, known)]
    return ServerCheck(name, version, tuple(missing))
