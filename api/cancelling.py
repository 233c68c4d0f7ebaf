"""Cancelling a job, wherever it is: waiting, running, or about to start over after a crash."""

from __future__ import annotations

from typing import Final, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.views import RunViews, starts_over
from tabario.clients.prefect import Run, RunState
from tabario.errors import Conflict, RetryLater
from tabario.slots.resume import moving

MESSAGE: Final = "Cancelled by its owner."


class CancellableRuns(Protocol):
    """Runs that can be found and ended. `tabario.clients.prefect` has the real ones."""

    async def find_run(self, user_id: str, reference: str) -> Run:
        """The user's run with this `run_id` or flow run id. Raises NotFound."""
        ...

    async def cancel_run(self, run: Run) -> None:
        """Asks Prefect to cancel the run. Raises Conflict (`run_ended`) when it has ended."""
        ...

    async def end_run(self, run: Run, state: RunState, message: str) -> bool:
        """Puts the run in a state that ends it; says False when it had moved on."""
        ...


class Cancelling:
    """Cancels runs. `redis` is the keeper's, which starts crashed runs over."""

    def __init__(self, runs: CancellableRuns, views: RunViews, redis: Redis) -> None:
        self._runs = runs
        self._views = views
        self._redis = redis

    async def cancel(self, run: Run) -> None:
        """Cancels the run. Raises Conflict (`run_ended`) when it has ended for good, and RetryLater.

        To Prefect a crash is an end like any other; to its owner the job goes on.
        """
        try:
            await self._runs.cancel_run(run)
        except Conflict:
            if not await self._cancel_crashed(run):
                raise

    async def _cancel_crashed(self, run: Run) -> bool:
        try:
            async with moving(self._redis, run.flow_run_id):
                now = await self._runs.find_run(run.job.user_id, str(run.flow_run_id))
                if not now.state.terminal:  # it has just been started over
                    await self._runs.cancel_run(now)
                    return True
                if not starts_over(now, await self._views.record(now)):
                    return False
                return await self._runs.end_run(now, RunState.CANCELLED, MESSAGE)
        except RedisError as error:
            raise RetryLater("The job cannot be cancelled just now; try again in a few seconds.") from error
