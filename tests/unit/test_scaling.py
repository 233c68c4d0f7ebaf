"""The model of docs/scaling.md: what is proportional, what is not, and what the page shows."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.evidence import KEPT, SCALING, scaled
from tests.fleet.scaling import Measured, carried, demand, films_a_minute

UNITS = (
    *("CPU of worker, s", "CPU of front-door, s", "CPU of prefect-server, s", "CPU of prefect-services, s"),
    *("CPU of redis, s", "commands of Redis", "CPU of postgres, s"),
    *("transactions of PostgreSQL", "rows of PostgreSQL", "PostgreSQL, kB"),
)
MEASURED = Measured(
    idle=dict.fromkeys(UNITS, 0.1), job=dict.fromkeys(UNITS, 2.0), merge_cpu=40, overhead=8, memory=512, kept_in_redis=5
)


def test_a_film_takes_the_time_of_its_parts() -> None:
    assert MEASURED.seconds == 8 + 8 * 4 + 40 / 2


def test_ten_times_the_jobs_need_ten_times_as_much_beyond_what_is_used_when_idle() -> None:
    few, many = demand(MEASURED, 60), demand(MEASURED, 600)
    assert few["films an hour"] == 3600
    assert few["GPUs"] == 32
    assert few["Redis, commands/s"] == pytest.approx(0.1 + 2)
    assert many["Redis, commands/s"] == pytest.approx(0.1 + 20)
    assert few["Redis, GB in 7 days"] == pytest.approx(7 * 24 * 3600 * 5 / 1e6)
    assert [one["memory of flows, GiB"] for one in (few, many)] == [30, 300]


def test_there_are_as_many_processes_as_carry_the_jobs_although_each_is_used_when_idle() -> None:
    assert carried(MEASURED, "prefect-server") == pytest.approx(15)
    assert [demand(MEASURED, jobs)["processes of Prefect's API"] for jobs in (59, 601)] == [4, 41]


def test_a_machine_that_does_everything_makes_as_many_films_as_its_cores_allow() -> None:
    assert films_a_minute(MEASURED, 2.5) == pytest.approx(60 * (2.5 - 6 * 0.1) / (6 * 2))


def test_a_process_carries_jobs_until_its_core_is_busy_enough() -> None:
    assert carried(MEASURED, "redis") == pytest.approx((0.6 - 0.1) / 2 * 60)


def test_the_page_shows_what_the_kept_figures_give() -> None:
    page, found = SCALING.read_text(encoding="utf-8"), json.loads(KEPT.read_text(encoding="utf-8"))
    assert "| jobs at once | 10 | 1,000 | 100,000 |" in page
    assert scaled(page, found) == page
