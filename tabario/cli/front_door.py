"""The front door as the command line sees it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tabario.errors import CallerError, RetryLater


class FrontDoor:
    """Calls of one user. Raises CallerError with the front door's own words, or RetryLater when nothing answers."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def start(self, body: str) -> dict[str, Any]:
        """Posts a job; `body` is JSON."""
        return await self._json("POST", "/orchestrate/start", content=body)

    async def status(self, run: str) -> dict[str, Any]:
        """What is known of a run."""
        return await self._json("GET", f"/orchestrate/status/{run}")

    async def download(self, run: str, destination: Path) -> None:
        """Writes the finished film to `destination`."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        async with self._http.stream("GET", f"/orchestrate/video/{run}") as response:
            if response.is_error:
                await response.aread()
                raise _refusal(response)
            with destination.open("wb") as film:
                async for chunk in response.aiter_bytes():
                    film.write(chunk)

    async def _json(self, method: str, path: str, *, content: str | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            response = await self._http.request(method, path, content=content, headers=headers)
        except httpx.TransportError:
            raise RetryLater(f"No front door answers at {self._url}; start one with `make up`.") from None
        if response.is_error:
            raise _refusal(response)
        reply: dict[str, Any] = response.json()
        return reply


def _refusal(response: httpx.Response) -> CallerError:
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        problem = response.json()
        fields = [f"{entry['field']}: {entry['message']}" for entry in problem.get("errors", ())]
        return CallerError(
            "; ".join([f"{problem['title']} ({response.status_code})", *fields, problem.get("detail", "")])
        )
    return CallerError(f"the front door answered {response.status_code}")
