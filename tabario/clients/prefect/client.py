"""Opens the client of the Prefect API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tabario.clients.prefect.http import open_http
from tabario.clients.prefect.runs import PrefectApi
from tabario.settings import PrefectSettings


@asynccontextmanager
async def open_prefect(settings: PrefectSettings) -> AsyncIterator[PrefectApi]:
    """The Prefect API until the block ends. Does not connect before the first call."""
    async with open_http(settings) as http:
        yield PrefectApi(http)
