"""Each ComfyUI server: whether it answers, has the nodes and models of every style's workflow, and is in use."""

from __future__ import annotations

from tabario.clients.comfyui import server_name
from tabario.clients.comfyui.client import ComfyUIClient
from tabario.clients.comfyui.painting import Patience
from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.doctor.redis import open_redis
from tabario.errors import RetryLater
from tabario.places.board import Board
from tabario.settings import ComfyUISettings, RedisSettings
from tabario.styles import STYLES
from tabario.styles.workflow import missing_parts


async def check_comfyui(settings: ComfyUISettings) -> list[Finding]:
    """A finding or two for each server; several servers are numbered in the order of TABARIO_COMFYUI_URL."""
    addresses = [address.strip() for address in settings.url.split(",")]
    if len(addresses) == 1:
        return await _check(addresses[0], "", settings)
    return [
        finding
        for number, address in enumerate(addresses, 1)
        for finding in await _check(address, f"-{number}", settings)
    ]


async def check_places(settings: ComfyUISettings, redis_settings: RedisSettings) -> list[Finding]:
    """Whether the servers take new pictures: one may be drained, or paused because it failed."""
    async with open_redis(redis_settings.url.get_secret_value()) as redis:
        states = await Board(redis, places=settings.places).states([server_name(url) for url in settings.urls])
    away = {name: "it is drained" if state.draining else "it failed" for name, state in states.items() if state.away}
    if not away:
        return [ok("comfyui-places", "Every server takes new pictures.")]
    who = ", ".join(f"{name} ({why})" for name, why in away.items())
    mend = "One that failed is tried again by itself; `tabario servers --refill HOST:PORT` ends a draining."
    if len(away) == len(states):
        return [fail("comfyui-places", f"No server takes new pictures, and every job waits: {who}.", mend)]
    return [warn("comfyui-places", f"No new pictures for {who}.", mend)]


async def _check(address: str, suffix: str, settings: ComfyUISettings) -> list[Finding]:
    patience = Patience(image=settings.image_timeout, outage=settings.outage_timeout)
    try:
        async with ComfyUIClient(address, patience=patience) as client:
            stats = await client.system_stats()
            info = await client.object_info()
    except RetryLater as error:
        return [fail(f"comfyui{suffix}", str(error), "Start ComfyUI, or set TABARIO_COMFYUI_URL to where it is.")]
    answers = ok(f"comfyui{suffix}", f"ComfyUI {stats.system.comfyui_version} answers.")
    workflows = sorted({style.workflow for style in STYLES.values()})
    lacks = [sentence for name in workflows for sentence in missing_parts(name, info)]
    if not lacks:
        return [answers, ok(f"comfyui-workflows{suffix}", "It has the nodes and models of every style.")]
    return [answers, *(fail(f"comfyui-workflows{suffix}", *_parted(sentence)) for sentence in lacks)]


def _parted(sentence: str) -> tuple[str, str]:
    """What is missing, and what to do about it."""
    fault, _, mend = sentence.rpartition(": ")
    return f"{fault}.", f"{mend[:1].upper()}{mend[1:]}"
