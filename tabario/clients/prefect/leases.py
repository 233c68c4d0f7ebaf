"""Slots: leases on Prefect's global concurrency limits.

Prefect counts a limit's taken slots in its database and keeps leases elsewhere, so the two can drift apart; the counts
are raised and lowered here only by those who repair that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import httpx
from pydantic import BaseModel

from tabario.clients.prefect.http import PrefectHttp, accepted
from tabario.errors import Conflict, RetryLater

LIMITS: Final = "/v2/concurrency_limits"
PAGE: Final = 200
CLAIM_TRIES: Final = 3


class LimitFull(Conflict):
    """No slot of the limit is free. `retry_after` is Prefect's hint in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("Every slot is taken.")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Lease:
    """A slot held for a time. `limit` is the name of the concurrency limit."""

    id: UUID
    limit: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A fresh lease, and the size that the limit had when it was granted."""

    lease: Lease
    size: int


class Limit(BaseModel):
    """A concurrency limit: `limit` slots, `active_slots` of them taken. An inactive one admits everybody."""

    name: str
    limit: int
    active: bool
    active_slots: int


class Leases:
    """Claims, renews and releases slots."""

    def __init__(self, http: PrefectHttp) -> None:
        self._http = http

    async def claim(self, name: str, *, size: int, seconds: int) -> Grant:
        """Takes a slot for `seconds` (at least 60), creating the limit with `size` slots when there is none.

        Raises LimitFull, and NotDone or OutcomeUnknown: after the latter a slot may be taken until the lease ends.
        """
        body = {"names": [name], "slots": 1, "mode": "concurrency", "lease_duration": seconds}
        for _ in range(CLAIM_TRIES):
            answer = await self._http.write_once("POST", f"{LIMITS}/increment-with-lease", body)
            if answer.status_code in (httpx.codes.LOCKED, httpx.codes.UNPROCESSABLE_ENTITY):
                raise LimitFull(float(answer.headers.get("Retry-After", 1)))
            granted = accepted(answer).json()
            if granted["limits"]:
                return Grant(Lease(UUID(granted["lease_id"]), name), granted["limits"][0]["limit"])
            # Without a limit Prefect grants everything: such a lease holds nothing.
            await self.create(name, size)
        raise RetryLater("The slots of this user cannot be set up; try again in a few seconds.")

    async def create(self, name: str, size: int) -> None:
        """Makes the limit, unless it exists."""
        body = {"name": name, "limit": size, "active": True}
        answer = await self._http.write("POST", f"{LIMITS}/", body)
        if answer.status_code != httpx.codes.CONFLICT:
            accepted(answer)

    async def read(self, name: str) -> Limit | None:
        """The limit, or None when there is none."""
        answer = await self._http.read("GET", f"{LIMITS}/{name}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return Limit.model_validate(accepted(answer).json())

    async def read_all(self, prefix: str) -> list[Limit]:
        """Every limit whose name begins with `prefix`."""
        limits: list[Limit] = []
        for offset in range(0, 1_000_000, PAGE):
            answer = await self._http.read("POST", f"{LIMITS}/filter", {"limit": PAGE, "offset": offset})
            page = [Limit.model_validate(item) for item in accepted(answer).json()]
            limits += [limit for limit in page if limit.name.startswith(prefix)]
            if len(page) < PAGE:
                break
        return limits

    async def resize(self, name: str, size: int) -> None:
        """Sets the number of slots; those that are taken stay taken."""
        await self._change(name, {"limit": size})

    async def activate(self, name: str) -> None:
        """Makes a limit count again that somebody switched off."""
        await self._change(name, {"active": True})

    async def _change(self, name: str, body: dict[str, Any]) -> None:
        accepted(await self._http.write("PATCH", f"{LIMITS}/{name}", body))

    async def renew(self, lease_id: UUID, *, seconds: int) -> bool:
        """Lets the lease end `seconds` from now; says False when there is no such lease any more."""
        answer = await self._http.read("POST", f"{LIMITS}/leases/{lease_id}/renew", {"lease_duration": seconds})
        if answer.status_code == httpx.codes.GONE:
            return False
        accepted(answer)
        return True

    async def release(self, lease_id: UUID) -> None:
        """Frees the slot. Two at the same time may free two slots: see `tabario.slots.release`.

        Raises NotDone or OutcomeUnknown.
        """
        body = {"lease_id": str(lease_id)}
        accepted(await self._http.write_once("POST", f"{LIMITS}/decrement-with-lease", body))

    async def raise_count(self, name: str, slots: int) -> bool:
        """Counts `slots` more as taken; says False when the limit has no room for them."""
        answer = await self._http.write_once("POST", f"{LIMITS}/increment", {"names": [name], "slots": slots})
        return answer.is_success

    async def lower_count(self, name: str, slots: int) -> None:
        """Counts `slots` fewer as taken."""
        answer = await self._http.write_once("POST", f"{LIMITS}/decrement", {"names": [name], "slots": slots})
        accepted(answer)
