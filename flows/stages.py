"""What the tasks of all stages have in common: when a try is repeated, and how its state is named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypedDict, TypeVar

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run
from prefect.states import Completed
from prefect.tasks import Task

from flows.failures import is_disk_full
from tabario.errors import RetryLater

RETRY_DELAYS: Final = [3.0, 15.0, 45.0]  # seconds; a restarting server is back by then

T = TypeVar("T")


class TaskOptions(TypedDict):
    """Arguments of Prefect's `task` decorator."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]
    cache_policy: Any
    persist_result: bool


def can_be_repeated(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Only what says of itself that it may succeed later is worth another try."""
    return isinstance(state.data, RetryLater) and not is_disk_full(state.data)


def options() -> TaskOptions:
    """How every task runs.

    Results are kept by content in the media store, so Prefect keeps and caches none. There are no tags: Prefect claims
    a slot for each tag of a task before it runs, and a server that restarts just then would fail the job.
    """
    return TaskOptions(
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=can_be_repeated,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def ended(result: T, *, cached: bool) -> State[T]:
    """The end of a task run; an adopted result shows as Cached in the UI."""
    return Completed(name="Cached" if cached else "Completed", data=result)


async def result_of(run: Awaitable[State[T]]) -> T:
    """What a task run made; raises what it raised."""
    return await (await run).aresult()


def try_id() -> str:
    """Names this try of this task run, so that its metrics count once."""
    return f"{task_run.id}:{task_run.run_count}"
