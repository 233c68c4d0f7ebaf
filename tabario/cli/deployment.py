"""Registers with Prefect what a flow run needs: blocks, the work pool, its queues, the deployment.

Everything is compared before it is written, so a repetition changes nothing; two at once end in the same place.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.callables import parameter_schema

import flows
from blocks.registration import blocks_of
from flows.video import generate_video
from tabario import names
from tabario.settings import PrefectSettings, Settings
from tabario.tiers import Tier

POOL_TYPE: Final = "process"

BASE_JOB_TEMPLATE: Final[dict[str, Any]] = {
    "job_configuration": {"command": "{{ command }}", "working_dir": "{{ working_dir }}", "env": "{{ env }}"},
    "variables": {
        "type": "object",
        "properties": {
            "command": {"type": "string", "title": "Command"},
            "working_dir": {"type": "string", "title": "Working directory"},
            "env": {"type": "object", "title": "Environment", "additionalProperties": {"type": "string"}},
        },
    },
}
"""Only what is used: Prefect validates the whole template each time that a run is created."""


_DEPLOYMENT_FIELDS: Final = (
    "entrypoint",
    "description",
    "enforce_parameter_schema",
    "work_pool_name",
    "work_queue_name",
    "job_variables",
)


class Outcome(StrEnum):
    """What became of a thing."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Change:
    """A thing in Prefect, and what was done to it."""

    kind: str
    name: str
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.outcome}"


async def deploy(settings: Settings) -> list[Change]:
    """Brings Prefect to what the settings and the code say; safe to repeat, and at the same time as another."""
    with _prefect_at(settings.prefect):
        async with get_client() as client:
            return [
                *[await _save_block(slug, block) for slug, block in blocks_of(settings).items()],
                await _save_work_pool(client, settings.prefect.pool_limit),
                *[await _save_work_queue(client, tier) for tier in names.WORK_QUEUES],
                await _save_deployment(client),
            ]


def job_variables() -> dict[str, str]:
    """How the worker starts a flow run.

    An explicit command skips a supervising process of Prefect's, and with it a second import of Prefect. `env` takes
    away the directory in which the front door's processes share metrics: a flow run is none of them.
    """
    engine = [sys.executable, "-m", "prefect.engine"]
    return {
        "command": shlex.join(["env", "-u", "PROMETHEUS_MULTIPROC_DIR", *engine]),
        "working_dir": str(Path(flows.__path__[0]).resolve().parent),
    }


def deployment() -> RunnerDeployment:
    """The one deployment; the front door chooses the work queue of each run by its tier."""
    return RunnerDeployment.from_flow(
        generate_video,
        name=names.DEPLOYMENT,
        description="Turns a script into a narrated short video.",
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=True,
        work_pool_name=names.WORK_POOL,
        work_queue_name=names.WORK_QUEUES[Tier.STANDARD],
        job_variables=job_variables(),
    )


@contextmanager
def _prefect_at(settings: PrefectSettings) -> Iterator[None]:
    auth = settings.auth_string
    updates = {PREFECT_API_URL: settings.url, PREFECT_API_AUTH_STRING: auth and auth.get_secret_value()}
    with temporary_settings(updates=updates):
        yield


async def _save_block(slug: str, block: Block) -> Change:
    name = slug.rpartition("/")[2]
    await block.aregister_type_and_schema()
    outcome = await _compare_block(block, name)
    if outcome is not Outcome.UNCHANGED:
        await block.asave(name, overwrite=True)
    return Change("block", slug, outcome)


async def _compare_block(block: Block, name: str) -> Outcome:
    try:
        saved: Block = await type(block).aload(name)
    except ValueError:  # Prefect's word for a document that does not exist
        return Outcome.CREATED
    except RuntimeError:  # and for one that an older version saved with other fields
        return Outcome.UPDATED
    same = all(getattr(saved, field) == getattr(block, field) for field in type(block).model_fields)
    return Outcome.UNCHANGED if same else Outcome.UPDATED


async def _save_work_pool(client: PrefectClient, limit: int) -> Change:
    def change(outcome: Outcome) -> Change:
        return Change("work pool", names.WORK_POOL, outcome)

    fields: dict[str, Any] = {"base_job_template": BASE_JOB_TEMPLATE, "concurrency_limit": limit}
    pool = WorkPoolCreate(name=names.WORK_POOL, type=POOL_TYPE, **fields)
    try:
        await client.create_work_pool(pool)
    except ObjectAlreadyExists:
        saved = await client.read_work_pool(names.WORK_POOL)
        if all(getattr(saved, field) == value for field, value in fields.items()):
            return change(Outcome.UNCHANGED)
        await client.update_work_pool(names.WORK_POOL, WorkPoolUpdate(**fields))
        return change(Outcome.UPDATED)
    return change(Outcome.CREATED)


async def _save_work_queue(client: PrefectClient, tier: Tier) -> Change:
    name, priority = names.WORK_QUEUES[tier], names.WORK_QUEUE_PRIORITY[tier]

    def change(outcome: Outcome) -> Change:
        return Change("work queue", f"{names.WORK_POOL}/{name}", outcome)

    try:
        await client.create_work_queue(name=name, priority=priority, work_pool_name=names.WORK_POOL)
    except ObjectAlreadyExists:
        saved = await client.read_work_queue_by_name(name, work_pool_name=names.WORK_POOL)
        if saved.priority == priority:
            return change(Outcome.UNCHANGED)
        await client.update_work_queue(saved.id, priority=priority)
        return change(Outcome.UPDATED)
    return change(Outcome.CREATED)


async def _save_deployment(client: PrefectClient) -> Change:
    desired = deployment()
    outcome = await _compare_deployment(client, desired)
    if outcome is not Outcome.UNCHANGED:
        await desired.aapply()
    return Change("deployment", desired.full_name, outcome)


async def _compare_deployment(client: PrefectClient, desired: RunnerDeployment) -> Outcome:
    try:
        saved = await client.read_deployment_by_name(desired.full_name)
    except ObjectNotFound:
        return Outcome.CREATED
    same_fields = all(getattr(saved, field) == getattr(desired, field) for field in _DEPLOYMENT_FIELDS)
    schema = parameter_schema(generate_video).model_dump(exclude_unset=True)
    same_schema = saved.parameter_openapi_schema == schema
    return Outcome.UNCHANGED if same_fields and same_schema else Outcome.UPDATED
