"""For load balancers: whether the process lives, and whether it can serve."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Final

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from api.bodies import HealthBody
from api.deps import CurrentServices
from api.openapi import NotReadyProblem
from api.problems import problem
from api.services import Services

PROBE_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 5

router = APIRouter()


@router.get("/health", operation_id="get_health", summary="Is the process alive?")
async def get_health() -> HealthBody:
    """Answers as long as the process lives, whatever else is down."""
    return HealthBody()


@router.get(
    "/ready",
    operation_id="get_readiness",
    summary="Can it serve?",
    response_model=HealthBody,
    responses={
        HTTPStatus.SERVICE_UNAVAILABLE: {
            "model": NotReadyProblem,
            "description": "A part is missing; `missing` names it.",
        }
    },
)
async def get_readiness(request: Request, services: CurrentServices) -> HealthBody | JSONResponse:
    """Answers 200 when a job could be started now: Redis and Prefect answer, and the slot keeper is up to date."""
    missing = await _missing(services)
    if not missing:
        return HealthBody()
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        code="not_ready",
        detail=f"Not ready: {', '.join(missing)}.",
        instance=request.scope["path"],
        headers={"Retry-After": str(RETRY_SECONDS)},
        missing=missing,
    )


async def _missing(services: Services) -> list[str]:
    """Names of the parts that do not serve, without saying where they are."""
    found = {"redis": False, "slot keeper": False, "prefect": False}

    async def probe_redis() -> None:
        with suppress(RedisError):
            found["slot keeper"] = await services.gate.is_open()
            found["redis"] = True

    async def probe_prefect() -> None:
        found["prefect"] = await services.runs.is_healthy()

    with anyio.move_on_after(PROBE_SECONDS):
        async with anyio.create_task_group() as probes:
            probes.start_soon(probe_redis)
            probes.start_soon(probe_prefect)
    return [name for name, serves in found.items() if not serves]
