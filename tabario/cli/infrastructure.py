"""How a worker starts a flow run: what the pool's base job template and a deployment's job variables say."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

import flows.engine
from tabario.settings import Settings, WorkPoolSettings, WorkPoolType
from tabario.settings_source import variable_name

_STRING: Final = {"type": "string"}
_STRINGS: Final = {"type": "array", "items": _STRING}

_VARIABLES: Final[dict[WorkPoolType, dict[str, Any]]] = {
    WorkPoolType.PROCESS: {
        "command": {**_STRING, "title": "Command"},
        "working_dir": {**_STRING, "title": "Working directory"},
        "env": {"type": "object", "title": "Environment", "additionalProperties": _STRING},
    },
    WorkPoolType.DOCKER: {
        "command": {**_STRING, "title": "Command"},
        "env": {"type": "object", "title": "Environment", "additionalProperties": _STRING},
        "image": {**_STRING, "title": "Image"},
        "networks": {**_STRINGS, "title": "Networks"},
        "volumes": {**_STRINGS, "title": "Volumes"},
        "mem_limit": {**_STRING, "title": "Memory limit"},
    },
}
"""Only what is used: Prefect validates the whole template each time that a run is created."""

_CONTAINER: Final[dict[str, Any]] = {
    "auto_remove": True,
    "stream_output": True,  # into the worker's log, which stays
    "container_create_kwargs": {"init": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]},
}


def base_job_template(kind: WorkPoolType) -> dict[str, Any]:
    """Prefect's template of a pool of that kind: the variables that a deployment sets, and what is the same for all."""
    configuration = {name: f"{{{{ {name} }}}}" for name in _VARIABLES[kind]}
    fixed = _CONTAINER if kind is WorkPoolType.DOCKER else {}
    return {
        "job_configuration": {**configuration, **fixed},
        "variables": {"type": "object", "properties": _VARIABLES[kind]},
    }


def job_variables(settings: Settings) -> dict[str, Any]:
    """The job variables of every deployment.

    An explicit command skips a supervising process of Prefect's, and with it a second import of Prefect; ours skips the
    first one too.
    """
    if settings.work_pool.type is WorkPoolType.DOCKER:
        return _in_container(settings.work_pool, container_environment(settings))
    return {
        "command": shlex.join([sys.executable, "-m", flows.engine.__name__]),
        "working_dir": str(Path(flows.__path__[0]).resolve().parent),
    }


def _in_container(pool: WorkPoolSettings, environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "command": "python -m prefect.engine",  # behind the image's entrypoint
        "env": dict(environment),
        "image": pool.image,
        "networks": list(pool.networks),
        "volumes": list(pool.volumes),
        "mem_limit": pool.memory,
    }


def container_environment(settings: Settings) -> dict[str, str]:
    """Settings that flows read from their environment, as far as they were given. Never a secret: those are in blocks.

    A worker's own environment does not reach its containers, but for the names that Prefect reads.
    """
    given = {}
    for group in (settings.media, settings.metrics, settings.tracing):
        for field in sorted(group.model_fields_set):
            value = getattr(group, field)
            if value is not None and not isinstance(value, SecretStr):
                given[variable_name(type(group), field)] = str(value).lower() if isinstance(value, bool) else str(value)
    return given
