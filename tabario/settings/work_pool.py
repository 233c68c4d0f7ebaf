"""Where flow runs run: as processes of their worker, or each in a container of its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from tabario.settings.core import group, parts
from tabario.settings_source import Group


class WorkPoolType(StrEnum):
    """Prefect's names for the kinds of infrastructure that a pool can have here."""

    PROCESS = "process"
    DOCKER = "docker"


class WorkPoolSettings(Group):
    """The Prefect work pool that flow runs wait in; only `tabario deploy` reads them."""

    model_config = group(env_prefix="TABARIO_POOL_")

    limit: int = Field(
        default=8,
        ge=1,
        description="jobs at once on all workers together; the others wait, premium ones in front",
    )
    type: WorkPoolType = Field(
        default=WorkPoolType.PROCESS,
        description="process, or docker: a container for each job, which needs `prefect worker start --type docker`",
    )
    image: str | None = Field(
        default=None, validate_default=True, description="image of the containers, with its tag, for docker"
    )
    networks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="networks that the containers join, separated by commas, for docker"
    )
    volumes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="what the containers mount, as volume:/path, separated by commas, for docker"
    )
    memory: str = Field(default="2g", pattern=r"^[1-9]\d*[bkmg]$", description="what one container may use, for docker")

    @field_validator("networks", "volumes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return parts(value)

    @field_validator("image")
    @classmethod
    def _goes_with_docker(cls, image: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("type") is WorkPoolType.DOCKER and not image:
            raise ValueError("containers need an image; set it, or TABARIO_POOL_TYPE=process")
        return image
