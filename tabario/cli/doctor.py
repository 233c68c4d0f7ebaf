"""`tabario doctor`: every check, over the settings that the processes get."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from rich.console import Console
from rich.text import Text

from tabario.cli.deployment import Outcome, deploy
from tabario.cli.surroundings import adopt_running_stack
from tabario.doctor.comfyui import check_comfyui, check_places
from tabario.doctor.disk import check_disk, check_store
from tabario.doctor.examination import examine
from tabario.doctor.film import check_ffmpeg, check_fonts, check_voice
from tabario.doctor.findings import Check, Finding, Verdict, fail, ok
from tabario.doctor.prefect import check_prefect, check_slot_limits
from tabario.doctor.redis import check_redis
from tabario.doctor.users import check_supabase, check_tokens
from tabario.doctor.webhook import check_webhook
from tabario.errors import ConfigurationError
from tabario.settings import RedisSettings, Settings
from tabario.settings_source import variable_name

COLOURS: Final = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


async def examine_deployment(console: Console, *, as_json: bool) -> bool:
    """Prints the findings; says whether nothing failed."""
    findings = await find_everything()
    if as_json:
        console.print_json(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        _print(findings, console)
    return all(finding.verdict is not Verdict.FAIL for finding in findings)


async def find_everything() -> list[Finding]:
    """The findings about the deployment that the variables describe, or the stack that runs here."""
    if not adopt_running_stack():
        variable = variable_name(RedisSettings, "url")
        missing = f"No stack runs in this directory, and {variable} does not name another one's Redis."
        return [fail("settings", missing, "Start one with `make up`, or set what .env.example lists.")]
    try:
        settings = Settings.from_environment()
    except ConfigurationError as error:
        return [fail("settings", line, "See .env.example.") for line in str(error).splitlines()]
    return [ok("settings", "Every setting is there and fits."), *await examine(checks(settings))]


def checks(settings: Settings) -> Mapping[str, Check]:
    """Every check, by the name under which its own breakdown is reported."""
    environment = settings.core.environment
    return {
        "redis": partial(check_redis, settings.redis),
        "prefect": partial(check_prefect, settings.prefect, environment),
        "deployment": partial(check_deployment, settings),
        "slot-limits": partial(check_slot_limits, settings.prefect, settings.slots),
        "comfyui": partial(check_comfyui, settings.comfyui),
        "comfyui-places": partial(check_places, settings.comfyui, settings.redis),
        "voice": partial(check_voice, settings.voice, settings.media),
        "ffmpeg": partial(check_ffmpeg, settings.media),
        "fonts": check_fonts,
        "media-store": partial(check_store, settings.media),
        "disk": partial(check_disk, settings.media, settings.metrics),
        "tokens": partial(check_tokens, settings),
        "supabase": partial(check_supabase, settings.auth),
        "webhook": partial(check_webhook, settings.webhook, environment),
    }


async def check_deployment(settings: Settings) -> list[Finding]:
    """Whether `tabario deploy` would change anything."""
    stale = [change for change in await deploy(settings, write=False) if change.outcome is not Outcome.UNCHANGED]
    if not stale:
        return [ok("deployment", "Blocks, work pool, work queues and deployment are as the settings say.")]
    verbs = {Outcome.CREATED: "is missing", Outcome.UPDATED: "differs from the settings"}
    return [
        fail("deployment", f"The {change.kind} {change.name} {verbs[change.outcome]}.", "Run `tabario deploy`.")
        for change in stale
    ]


def _print(findings: Sequence[Finding], console: Console) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        line = Text.assemble(
            (f"{finding.verdict:<4}", COLOURS[finding.verdict]), f"  {finding.check:<{width}}  {finding.message}"
        )
        console.print(line, soft_wrap=True)
        if finding.mend:
            console.print(Text(f"{'':<{width + 8}}{finding.mend}", "dim"), soft_wrap=True)
