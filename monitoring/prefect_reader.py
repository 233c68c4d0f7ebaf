"""The few questions that the exporter asks the Prefect API: counts, single rows and one page, never pages of runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from tabario.settings import PrefectSettings

CALL_SECONDS: Final = 5.0

Filters = Mapping[str, Any]
"""Body of a filter call, as Prefect's API takes it."""


class PrefectReader:
    """Reads from the Prefect API. Raises httpx.HTTPError when it does not answer well."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def deployment_id(self, flow: str, deployment: str) -> str | None:
        """Id of a deployment, None while it is not registered."""
        response = await self._http.get(f"/deployments/name/{flow}/{deployment}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(response.raise_for_status().json()["id"])

    async def count_runs(self, filters: Filters) -> int:
        """How many flow runs match."""
        return int((await self._post("/flow_runs/count", filters)).json())

    async def oldest_due_run(self, filters: Filters) -> dict[str, Any] | None:
        """The matching flow run with the earliest expected start."""
        first = {**filters, "sort": "EXPECTED_START_TIME_ASC", "limit": 1}
        runs: list[dict[str, Any]] = (await self._post("/flow_runs/filter", first)).json()
        return runs[0] if runs else None

    async def workers(self, work_pool: str) -> list[dict[str, Any]]:
        """The workers of a pool, those heard of last come first. Empty when there is no such pool."""
        try:
            answer = await self._post(f"/work_pools/{work_pool}/workers/filter", {})
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return []
            raise
        workers: list[dict[str, Any]] = answer.json()
        return workers

    async def concurrency_limits(self, *, offset: int, size: int) -> list[dict[str, Any]]:
        """A page of the global concurrency limits, ordered by name."""
        answer = await self._post("/v2/concurrency_limits/filter", {"limit": size, "offset": offset})
        limits: list[dict[str, Any]] = answer.json()
        return limits

    async def _post(self, path: str, body: Filters) -> httpx.Response:
        return (await self._http.post(path, json=body)).raise_for_status()


@asynccontextmanager
async def open_prefect_reader(settings: PrefectSettings) -> AsyncIterator[PrefectReader]:
    """A reader with its own connections."""
    secret = settings.auth_string.get_secret_value() if settings.auth_string is not None else None
    user, _, password = (secret or "").partition(":")
    auth = httpx.BasicAuth(user, password) if secret else None
    async with httpx.AsyncClient(base_url=settings.url, auth=auth, timeout=CALL_SECONDS) as http:
        yield PrefectReader(http)
