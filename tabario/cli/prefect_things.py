"""What a deployment keeps in Prefect: how each is compared with what it should be, and saved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from prefect import Flow
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr

from tabario import names
from tabario.cli.infrastructure import base_job_template
from tabario.errors import ConfigurationError
from tabario.settings import WorkPoolSettings
from tabario.tiers import Tier

LONGEST_SHOWN: Final = 120

_DEPLOYMENT_FIELDS: Final = (
    "entrypoint",
    "description",
    "enforce_parameter_schema",
    "work_pool_name",
    "work_queue_name",
    "job_variables",
)


@dataclass(frozen=True)
class Difference:
    """A field that is not as it should be. Secrets and long values are not shown."""

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {self.before} -> {self.after}"


class Thing(Protocol):
    """Something in Prefect."""

    @property
    def kind(self) -> str:
        """What it is."""
        ...

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    async def compare(self) -> tuple[Difference, ...] | None:
        """What differs from what it should be; None when it is not there."""
        ...

    async def save(self, *, new: bool) -> None:
        """Brings it to what it should be."""
        ...


@dataclass(frozen=True)
class SavedBlock:
    """A block under `slug/name`."""

    name: str
    block: Block
    kind: str = "block"

    async def compare(self) -> tuple[Difference, ...] | None:
        """Each field that differs, or one difference when an older version saved other fields."""
        try:
            saved: Block = await type(self.block).aload(self._document)
        except ValueError:  # Prefect's word for a document, or a type, that does not exist
            return None
        except RuntimeError:  # and for one that an older version saved with other fields
            return (Difference("fields", "of an older version", "of this one"),)
        fields = type(self.block).model_fields
        return _differences(*({field: getattr(one, field) for field in fields} for one in (saved, self.block)))

    async def save(self, *, new: bool) -> None:  # noqa: ARG002 - of the protocol; this call of Prefect makes or changes it
        """Registers the type, too."""
        await self.block.aregister_type_and_schema()
        await self.block.asave(self._document, overwrite=True)

    @property
    def _document(self) -> str:
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class SavedWorkPool:
    """The work pool, with room for so many runs. Prefect cannot change the type of one that is there."""

    client: PrefectClient
    settings: WorkPoolSettings
    kind: str = "work pool"
    name: str = names.WORK_POOL

    async def compare(self) -> tuple[Difference, ...] | None:
        """The template and the limit. Raises ConfigurationError when it is of another type."""
        try:
            saved = await self.client.read_work_pool(self.name)
        except ObjectNotFound:
            return None
        if saved.type != self.settings.type:
            raise ConfigurationError(
                f"The work pool {self.name} is of type {saved.type}. When no job waits or runs any more, delete it "
                f"with `prefect work-pool delete {self.name}` and deploy again, or set TABARIO_POOL_TYPE={saved.type}."
            )
        return _differences({field: getattr(saved, field) for field in self._fields}, self._fields)

    async def save(self, *, new: bool) -> None:
        """Creates or updates it."""
        if new:
            with suppress(ObjectAlreadyExists):  # another deployment was a moment faster
                await self.client.create_work_pool(
                    WorkPoolCreate(name=self.name, type=self.settings.type, **self._fields)
                )
                return
        await self.client.update_work_pool(self.name, WorkPoolUpdate(**self._fields))

    @property
    def _fields(self) -> dict[str, Any]:
        template = base_job_template(self.settings.type)
        return {"base_job_template": template, "concurrency_limit": self.settings.limit}


@dataclass(frozen=True)
class SavedWorkQueue:
    """The queue of a tier."""

    client: PrefectClient
    tier: Tier
    kind: str = "work queue"

    @property
    def name(self) -> str:
        """With the pool's name in front."""
        return f"{names.WORK_POOL}/{self._queue}"

    async def compare(self) -> tuple[Difference, ...] | None:
        """The priority."""
        try:
            saved = await self.client.read_work_queue_by_name(self._queue, work_pool_name=names.WORK_POOL)
        except ObjectNotFound:
            return None
        return _differences({"priority": saved.priority}, {"priority": self._priority})

    async def save(self, *, new: bool) -> None:
        """Creates or updates it."""
        if new:
            with suppress(ObjectAlreadyExists):  # another deployment was a moment faster
                await self.client.create_work_queue(
                    name=self._queue, priority=self._priority, work_pool_name=names.WORK_POOL
                )
                return
        saved = await self.client.read_work_queue_by_name(self._queue, work_pool_name=names.WORK_POOL)
        await self.client.update_work_queue(saved.id, priority=self._priority)

    @property
    def _queue(self) -> str:
        return names.WORK_QUEUES[self.tier]

    @property
    def _priority(self) -> int:
        return names.WORK_QUEUE_PRIORITY[self.tier]


@dataclass(frozen=True)
class SavedDeployment:
    """The deployment of a flow."""

    client: PrefectClient
    desired: RunnerDeployment
    flow: Flow[..., Any]
    kind: str = "deployment"

    @property
    def name(self) -> str:
        """With the flow's name in front."""
        return self.desired.full_name

    async def compare(self) -> tuple[Difference, ...] | None:
        """How runs are started, and the schema of the flow's parameters."""
        try:
            saved = await self.client.read_deployment_by_name(self.name)
        except ObjectNotFound:
            return None
        schema = parameter_schema(self.flow).model_dump(exclude_unset=True)
        before, after = ({field: getattr(one, field) for field in _DEPLOYMENT_FIELDS} for one in (saved, self.desired))
        return _differences(
            {**before, "parameter_openapi_schema": saved.parameter_openapi_schema},
            {**after, "parameter_openapi_schema": schema},
        )

    async def save(self, *, new: bool) -> None:  # noqa: ARG002 - of the protocol; this call of Prefect makes or changes it
        """Creates or updates it."""
        await self.desired.aapply()


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What differs, field by field. Of two mappings only that which differs in them is told."""
    found: list[Difference] = []
    for field in dict.fromkeys((*after, *before)):
        old, new = before.get(field), after.get(field)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += (replace(one, field=f"{field}.{one.field}") for one in _differences(old, new))
        elif old != new:
            found.append(Difference(field, _shown(old), _shown(new)))
    return tuple(found)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(a secret)"
    text = str(value)
    return text if len(text) <= LONGEST_SHOWN else "(too long to show)"
