"""Flow runs that have not ended, and how long the next ones have waited.

Finished runs are not counted here: the recorded totals know them, and a count over all history takes ever longer.

    video_orchestrator_flow_runs{state="running"} 2.0
    video_orchestrator_flow_runs_late 0.0
    video_orchestrator_waiting_runs{work_queue="premium"} 1.0
    video_orchestrator_queue_oldest_age_seconds{work_queue="premium"} 12.4
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from prometheus_client.metrics_core import Metric as Family

from monitoring.families import gauge_family
from monitoring.prefect_reader import Filters, PrefectReader
from tabario import names
from tabario.metrics.definitions import FLOW_RUNS, FLOW_RUNS_LATE, QUEUE_OLDEST_AGE_SECONDS, WAITING_RUNS

_NO_ID: Final = str(UUID(int=0))


class FlowRuns:
    """Counts the deployment's live flow runs by state and by work queue.

    The filters name columns of the run's own table. Filters by the deployment's or the queue's name are slower, and
    slower yet with every run in history: SQLite then joins before it looks at the state.
    """

    name: ClassVar = "runs"
    keeps_values: ClassVar = False

    def __init__(self, prefect: PrefectReader) -> None:
        self._prefect = prefect

    async def read(self) -> Sequence[Family]:
        """Runs by state, late runs, and each work queue's waiting runs and oldest age; all 0 without a deployment."""
        deployment_id = await self._prefect.deployment_id(names.FLOW, names.DEPLOYMENT)
        ours = {"deployment_id": {"any_": [deployment_id or _NO_ID]}}
        (states,) = (label.values for label in FLOW_RUNS.labels)
        by_state = {(state,): await self._count({**ours, "state": _in_state(state)}) for state in states}
        late = {**ours, "state": {**_in_state("scheduled"), "name": {"any_": ["Late"]}}}
        queues = {
            (queue,): {**ours, "state": _in_state("scheduled"), "tags": {"all_": [names.tier_tag(tier)]}}
            for tier, queue in names.WORK_QUEUES.items()
        }
        waiting = {queue: await self._count(runs) for queue, runs in queues.items()}
        return (
            gauge_family(FLOW_RUNS, by_state),
            gauge_family(FLOW_RUNS_LATE, {(): await self._count(late) if by_state["scheduled",] else 0}),
            gauge_family(WAITING_RUNS, waiting),
            gauge_family(
                QUEUE_OLDEST_AGE_SECONDS,
                {queue: await self._oldest_age(runs) if waiting[queue] else 0.0 for queue, runs in queues.items()},
            ),
        )

    async def _oldest_age(self, runs: Filters) -> float:
        return _age(await self._prefect.oldest_due_run({"flow_runs": runs}))

    async def _count(self, runs: Filters) -> int:
        return await self._prefect.count_runs({"flow_runs": runs})


def _in_state(state: str) -> Filters:
    return {"type": {"any_": [state.upper()]}}


def _age(run: dict[str, Any] | None) -> float:
    if run is None:
        return 0.0
    due = datetime.fromisoformat(run["expected_start_time"])
    return max(0.0, (datetime.now(UTC) - due).total_seconds())  # a resumed run may be due in a moment
