"""Users of a system with two front doors, as a proxy before them lets the users see it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import httpx

from tabario.tiers import Tier
from tests.support.issuer import Issuer
from tests.support.jobs import new_job

PATIENCE_SECONDS: Final = 30.0


@dataclass
class Callers:
    """Calls the first front door that takes the connection. `tiers` are those of users who are not standard.

    `seen` counts what the users got, by route and answer; `seconds` has how long each answer took, by route.
    """

    doors: Sequence[str]
    issuer: Issuer
    http: httpx.AsyncClient
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def start(self, user_id: str, run_id: str) -> httpx.Response | None:
        """Starts a small job; None if nobody answered. The same again is the same job."""
        body = {**new_job(caption=run_id).spec.model_dump(mode="json"), "run_id": run_id}
        key = {"Idempotency-Key": run_id}
        return await self.call(user_id, "POST", "/orchestrate/start", "start", json=body, headers=key)

    async def state(self, user_id: str, run_id: str) -> str | None:
        """How the job gets on, if the front door says so now."""
        reply = await self.call(user_id, "GET", f"/orchestrate/status/{run_id}", "status")
        return reply.json()["state"] if reply is not None and reply.is_success else None

    async def film(self, user_id: str, run_id: str) -> bytes:
        """The finished MP4."""
        reply = await self.call(user_id, "GET", f"/orchestrate/video/{run_id}", "video")
        assert reply is not None
        assert reply.status_code == httpx.codes.OK, reply.text
        return reply.content

    async def call(
        self,
        user_id: str,
        method: str,
        path: str,
        route: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,  # noqa: ANN401 - httpx's
    ) -> httpx.Response | None:
        """One request. A connection that is refused goes to the next door, as nothing was sent."""
        token = self.issuer.token(user_id, self.tiers.get(user_id, Tier.STANDARD))
        headers = {**(headers or {}), "Authorization": f"Bearer {token}"}
        for door in self.doors:
            began = time.monotonic()
            try:
                reply = await self.http.request(method, f"{door}{path}", headers=headers, **more)
            except httpx.ConnectError:
                continue
            except httpx.TransportError as error:
                self.seen[f"{route} broken off: {type(error).__name__}"] += 1
                return None
            self.seen[f"{route} {_answer(reply)}"] += 1
            self.seconds[route].append(time.monotonic() - began)
            return reply
        self.seen[f"{route} refused by every door"] += 1
        return None


def _answer(reply: httpx.Response) -> str:
    if reply.is_success:
        return str(reply.status_code)
    later = " with Retry-After" if "Retry-After" in reply.headers else ""
    return f"{reply.status_code} {reply.json()['code']}{later}"


@asynccontextmanager
async def calling(doors: Sequence[str], issuer: Issuer) -> AsyncIterator[Callers]:
    """No connection is kept: a door that closes one as it stops would break a request off that is just sent."""
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, limits=limits) as http:
        yield Callers(doors, issuer, http)


def new_users(count: int) -> list[str]:
    """Ids of users whom nobody knows yet."""
    return [str(uuid4()) for _ in range(count)]
