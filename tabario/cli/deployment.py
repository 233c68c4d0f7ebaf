"""Registers with Prefect what a flow run needs: blocks, the work pool, its queues, the deployment.

Everything is compared before it is written, so a repetition changes nothing; two at once end in the same place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType

from blocks.registration import blocks_of
from flows.prune import prune_media
from flows.video import generate_video
from tabario import names
from tabario.cli.infrastructure import job_variables
from tabario.cli.prefect_things import Difference, SavedBlock, SavedDeployment, SavedWorkPool, SavedWorkQueue, Thing
from tabario.settings import PrefectSettings, Settings
from tabario.tiers import Tier

PRUNE_CRON: Final = "17 3 * * *"  # UTC


class Outcome(StrEnum):
    """What became of a thing."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Change:
    """A thing in Prefect, and what was done to it; `differences` are the fields that were not as they should be."""

    kind: str
    name: str
    outcome: Outcome
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        return "\n".join((f"{self.kind} {self.name}: {self.outcome}", *(f"    {one}" for one in self.differences)))


async def deploy(settings: Settings, *, write: bool = True) -> list[Change]:
    """Brings Prefect to what the settings and the code say; safe to repeat, and at the same time as another.

    Without `write` it only tells what it would do.
    """
    variables = job_variables(settings)
    with _prefect_at(settings.prefect):
        async with get_client() as client:
            things: list[Thing] = [
                *[SavedBlock(slug, block) for slug, block in blocks_of(settings).items()],
                SavedWorkPool(client, settings.work_pool),
                *[SavedWorkQueue(client, tier) for tier in names.WORK_QUEUES],
                SavedDeployment(client, deployment(variables), generate_video),
                SavedDeployment(client, prune_deployment(variables), prune_media),
            ]
            return [await _bring_about(thing, write=write) for thing in things]


async def _bring_about(thing: Thing, *, write: bool) -> Change:
    differences = await thing.compare()
    outcome = _outcome(differences)
    if write and outcome is not Outcome.UNCHANGED:
        await thing.save(new=outcome is Outcome.CREATED)
    return Change(thing.kind, thing.name, outcome, differences or ())


def _outcome(differences: tuple[Difference, ...] | None) -> Outcome:
    if differences is None:
        return Outcome.CREATED
    return Outcome.UPDATED if differences else Outcome.UNCHANGED


def deployment(variables: Mapping[str, Any]) -> RunnerDeployment:
    """The one deployment; the front door chooses the work queue of each run by its tier."""
    return RunnerDeployment.from_flow(
        generate_video,
        name=names.DEPLOYMENT,
        description="Turns a script into a narrated short video.",
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=True,
        work_pool_name=names.WORK_POOL,
        work_queue_name=names.WORK_QUEUES[Tier.STANDARD],
        job_variables=dict(variables),
    )


def prune_deployment(variables: Mapping[str, Any]) -> RunnerDeployment:
    """Makes room in the media store at night."""
    return RunnerDeployment.from_flow(
        prune_media,
        name=names.PRUNE_DEPLOYMENT,
        description="Removes films and parts that have had their time from the media store.",
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=True,
        work_pool_name=names.WORK_POOL,
        work_queue_name=names.WORK_QUEUES[Tier.STANDARD],
        job_variables=dict(variables),
        cron=PRUNE_CRON,
    )


@contextmanager
def _prefect_at(settings: PrefectSettings) -> Iterator[None]:
    auth = settings.auth_string
    updates = {PREFECT_API_URL: settings.url, PREFECT_API_AUTH_STRING: auth and auth.get_secret_value()}
    with temporary_settings(updates=updates):
        yield
