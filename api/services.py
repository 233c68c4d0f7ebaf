"""What the routes work with. The lifespan builds it once; tests build it from parts of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from api.bodies import ActiveRun
from api.cancelling import Cancelling
from api.following import Following
from api.idempotency import Starts
from api.rates import Rates
from api.views import RunViews
from tabario.clients.prefect import Run, RunPage
from tabario.entitlements.entitlement import Entitlement, Entitlements
from tabario.film.kit import FilmKit
from tabario.links import FilmLinks
from tabario.records import JobRecords
from tabario.settings import Settings, SlotSettings
from tabario.slots.gate import Gate
from tabario.tokens.claims import Identity


class Runs(Protocol):
    """What the routes ask Prefect. `tabario.clients.prefect` has the real one."""

    async def find_run(self, user_id: str, reference: str) -> Run:
        """The user's run with this `run_id` or flow run id. Raises NotFound, also when it is somebody else's."""
        ...

    async def list_runs(self, user_id: str, *, limit: int, cursor: str | None) -> RunPage:
        """A page of the user's runs, newest first."""
        ...

    async def live_runs(self, user_id: str) -> Sequence[Run]:
        """The user's runs that have not ended."""
        ...

    async def crashed_runs(self, user_id: str) -> Sequence[Run]:
        """The user's runs that crashed a short while ago; some may start over and hold a slot."""
        ...

    async def is_healthy(self) -> bool:
        """Whether Prefect answers."""
        ...


class Films(Protocol):
    """Where films are kept. `tabario.clients.store` has the real one."""

    async def exists(self, key: str) -> bool:
        """Whether there is a file under this key."""
        ...

    async def read_bytes(self, key: str) -> bytes:
        """The whole file. Raises NotFound."""
        ...

    def open_range(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `stop` of the file."""
        ...


@dataclass(frozen=True)
class Services:
    """The collaborators of the routes."""

    runs: Runs
    entitlements: Entitlements
    starts: Starts
    rates: Rates
    following: Following
    records: JobRecords
    views: RunViews
    cancelling: Cancelling
    films: Films
    kit: FilmKit
    links: FilmLinks | None
    gate: Gate
    slots: SlotSettings

    async def slot_holders(self, user_id: str) -> list[ActiveRun]:
        """The user's runs that hold a slot."""
        live, crashed = await self.runs.live_runs(user_id), await self.runs.crashed_runs(user_id)
        return await self.views.active([*live, *crashed])

    async def tier_of(self, caller: Identity) -> Entitlement:
        """The caller's tier. Raises RetryLater and ConfigurationError."""
        return await self.entitlements.tier_of(
            caller.user_id, claimed=caller.tier, issued_at=caller.issued_at, changed_at=caller.tier_changed_at
        )


OpenServices = Callable[[Settings], AbstractAsyncContextManager[Services]]
