"""Many users at once through two front doors, with Prefect on PostgreSQL as in production."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import anyio
import httpx
import pytest

from tabario import names
from tabario.settings import SlotSettings
from tests.support.crowd import new_users, submit_all
from tests.support.front_door_process import FrontDoorProcess, front_door_process
from tests.support.orchestrator import ensure_deployment
from tests.support.postgresql import SUPERUSER, PostgreSQL, find_postgresql, postgresql_running
from tests.support.servers import PrefectServer, prefect_running, redis_running
from tests.support.waiting import eventually

PROGRAMS: Final = find_postgresql()
USERS: Final = 10
SUBMISSIONS: Final = 50
AT_ONCE: Final = 30  # twice as many let a slow machine's Prefect outlast the patience of a front door
LOOK_SECONDS: Final = 0.5
FREE_WITHIN: Final = 30.0  # seconds after the last run's end until no slot is taken


@dataclass(frozen=True)
class Installation:
    """Two front doors before one Prefect, and the database to look into."""

    doors: tuple[FrontDoorProcess, ...]
    prefect: PrefectServer
    database: PostgreSQL

    def slots_taken(self) -> dict[str, int]:
        """Taken slots by limit."""
        rows = self.database.execute("select name, active_slots from concurrency_limit_v2")
        return {name: int(taken) for name, taken in (row.split("|") for row in rows.splitlines())}

    def oversold(self) -> int:
        """How many limits have more slots taken, or more live runs, than they allow."""
        return int(
            self.database.execute("""
                select count(*) from concurrency_limit_v2
                where active_slots > "limit" or "limit" < (
                    select count(*) from flow_run
                    where flow_run.name like concurrency_limit_v2.name || '%'
                    and state_type not in ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED')
                )
            """)
        )


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    if PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed")
    directory = tmp_path_factory.mktemp("scale")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_running(directory))
        database = stack.enter_context(postgresql_running(PROGRAMS, directory / "postgresql.log"))
        address = database.url(SUPERUSER).replace("postgresql", "postgresql+asyncpg", 1)
        prefect = stack.enter_context(prefect_running(directory, redis, PREFECT_API_DATABASE_CONNECTION_URL=address))
        async with httpx.AsyncClient(base_url=prefect.api_url, timeout=60) as http:
            await ensure_deployment(http)
        settings = {"TABARIO_PREFECT_ONE_WRITER": "false", "TABARIO_API_RATE": f"{USERS * SUBMISSIONS}/second"}
        doors = []
        for name in ("first", "second"):
            (directory / name).mkdir()
            door = front_door_process(directory / name, redis_url=redis.url, prefect=prefect, **settings)
            doors.append(stack.enter_context(door))
        yield Installation(doors=tuple(doors), prefect=prefect, database=database)


async def never_oversold(installation: Installation) -> None:
    """Looks as long as it is let; every look is a process that the crowd has to wait for."""
    while True:
        assert await anyio.to_thread.run_sync(installation.oversold) == 0
        await anyio.sleep(LOOK_SECONDS)


@pytest.mark.timeout(600)
async def test_parallel_submissions_of_many_users_take_each_slot_once_and_give_all_back(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    users, slots = new_users(USERS), SlotSettings()
    async with httpx.AsyncClient(base_url=installation.prefect.api_url, timeout=60) as prefect:
        async with anyio.create_task_group() as watching:
            watching.start_soon(never_oversold, installation)
            tally = await submit_all(users, installation.doors, times=SUBMISSIONS, at_once=AT_ONCE)
            watching.cancel_scope.cancel()
        with capsys.disabled():
            print("", *tally.lines(), sep="\n")  # noqa: T201 - figures for people
        let_in = {user: tally.accepted(user) for user in users}
        assert let_in == {user: slots.slots(user.tier) for user in users}, [*tally.lines()]
        accepted, refused = tally.with_status(httpx.codes.ACCEPTED), tally.with_status(httpx.codes.CONFLICT)
        assert len(accepted) + len(refused) == USERS * SUBMISSIONS
        assert {reply.code for reply in refused} == {"slots_full"}
        assert installation.slots_taken() == {names.slot_limit(user.id): slots.slots(user.tier) for user in users}

        for kind in ("RUNNING", "COMPLETED"):
            for reply in accepted:
                path, body = f"/flow_runs/{reply.flow_run_id}/set_state", {"state": {"type": kind}, "force": True}
                (await prefect.post(path, json=body)).raise_for_status()
        ended = time.monotonic()

        async def all_free() -> bool:
            return not any((await anyio.to_thread.run_sync(installation.slots_taken)).values())

        await eventually(all_free, within=FREE_WITHIN, what="no slot is taken")
        with capsys.disabled():
            print(f"all {len(accepted)} slots free {time.monotonic() - ended:.1f} s after the last end")  # noqa: T201
