"""What so many jobs at once need, from what one job was measured to need: the tables of docs/scaling.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

CONCURRENT: Final = (10, 1_000, 100_000)
PICTURES: Final = 8
GPU_SECONDS_A_PICTURE: Final = 4.0
MERGE_CORES: Final = 2.0
RETENTION_DAYS: Final = 30  # Prefect's of runs
RECORD_DAYS: Final = 7  # Redis' of records
CONNECTIONS_A_SERVER: Final = 15  # Prefect's pool of 5 and its overflow of 10
BUSY: Final = 0.6  # of a process that answers others: beyond that they wait
DAY: Final = 86_400.0
PARTS: Final[Mapping[str, str]] = {
    "prefect-server": "Prefect's API",
    "front-door": "a front door",
    "prefect-services": "Prefect's services",
    "redis": "Redis",
}
CHECKED: Final = """
At the small end, the costs of a job in the second half of the soak let the cores that did everything make
{predicted:.1f} small films a minute; over the whole of it they made {made:.1f}. So what a job used is all in the
costs, to {off:.0%}; that does not say that another day or a longer queue costs the same.
With {users} users, and {waiting} jobs waiting at the end, a job took so many times as much: {factors}.
How fast the machine was is part of that: an idle Prefect's API alone took {machine} times as much in that soak.
"""


@dataclass(frozen=True)
class Measured:
    """Of an installation and a job: `idle` is used each second, `job` by each job; CPU and overhead are in seconds.

    A flow holds `memory` MiB at most, while a long film is merged; of each job Redis keeps `kept_in_redis` kB.
    """

    idle: Mapping[str, float]
    job: Mapping[str, float]
    merge_cpu: float
    overhead: float
    memory: float
    kept_in_redis: float

    @classmethod
    def of(cls, evidence: Mapping[str, Any]) -> Measured:
        """From docs/evidence.json. Raises KeyError when something was never measured."""
        bench, soak = evidence["bench"], evidence["soak-24"]
        merge_cpu, overhead, memory = (
            bench[name]["ours"] for name in ("merge_vs_encoder", "job_overhead", "merge_memory")
        )
        return cls(soak["idle"], soak["costs"], merge_cpu, overhead, memory, soak["kept_in_redis"])

    @property
    def seconds(self) -> float:
        """How long a film of `PICTURES` pictures and 30 s takes that waits for nothing."""
        return self.overhead + PICTURES * GPU_SECONDS_A_PICTURE + self.merge_cpu / MERGE_CORES


def demand(measured: Measured, concurrent: int) -> dict[str, float]:
    """What `concurrent` jobs at once need, by name and unit."""
    rate = concurrent / measured.seconds
    job = measured.job

    def used(name: str) -> float:
        return measured.idle[name] + rate * job[name]

    api_processes = math.ceil(concurrent / carried(measured, "prefect-server"))
    return {
        "films an hour": rate * 3_600,
        "GPUs": rate * PICTURES * GPU_SECONDS_A_PICTURE,
        "GPU hours a day": rate * PICTURES * GPU_SECONDS_A_PICTURE * DAY / 3_600,
        "cores of workers": rate * (job["CPU of worker, s"] + measured.merge_cpu),
        "memory of flows, GiB": concurrent * measured.memory / 1024,
        "cores of front doors": used("CPU of front-door, s"),
        "cores of Prefect's API": used("CPU of prefect-server, s"),
        "processes of Prefect's API": api_processes,
        "cores of Prefect's services": used("CPU of prefect-services, s"),
        "PostgreSQL, cores": used("CPU of postgres, s"),
        "PostgreSQL, transactions/s": used("transactions of PostgreSQL"),
        "PostgreSQL, connections": CONNECTIONS_A_SERVER * (api_processes + 1),
        "PostgreSQL, million rows in 30 days": rate * job["rows of PostgreSQL"] * RETENTION_DAYS * DAY / 1e6,
        "PostgreSQL, GB in 30 days": rate * job["PostgreSQL, kB"] * RETENTION_DAYS * DAY / 1e6,
        "Redis, commands/s": used("commands of Redis"),
        "Redis, cores": used("CPU of redis, s"),
        "Redis, GB in 7 days": rate * measured.kept_in_redis * RECORD_DAYS * DAY / 1e6,
    }


def carried(measured: Measured, part: str) -> float:
    """How many jobs at once each process of a part carries that is kept `BUSY` at most."""
    cpu = f"CPU of {part}, s"
    return (BUSY - measured.idle[cpu]) / measured.job[cpu] * measured.seconds


def films_a_minute(measured: Measured, cores: float) -> float:
    """How many of the soak's small films `cores` cores make that do everything: the model at its small end."""
    idle = sum(rate for name, rate in measured.idle.items() if name.startswith("CPU "))
    each = sum(cost for name, cost in measured.job.items() if name.startswith("CPU "))
    return 60 * (cores - idle) / each


def page(evidence: Mapping[str, Any]) -> Iterable[str]:
    """A column for each number of jobs at once, and what follows from the figures; those of docs/evidence.json."""
    measured, small, large = Measured.of(evidence), evidence["soak-24"], evidence["soak"]
    columns = [demand(measured, concurrent) for concurrent in CONCURRENT]
    yield f"| jobs at once | {' | '.join(f'{concurrent:,}' for concurrent in CONCURRENT)} |\n"
    yield f"|---|{'---:|' * len(columns)}\n"
    for name in columns[0]:
        yield f"| {name} | {' | '.join(_rounded(column[name]) for column in columns)} |\n"
    loads = ", ".join(f"{words} {_rounded(carried(measured, part))}" for part, words in PARTS.items())
    yield f"\nSuch a job takes {measured.seconds:.0f} s. Each process, kept at most {BUSY:.0%} busy, carries at once:\n"
    yield f"{loads}.\n"
    made = small["jobs_a_minute"]
    predicted = films_a_minute(measured, small["cores"] * small["machine_busy"])
    factors = ", ".join(f"{words} {_times(large, small, 'costs', part)}" for part, words in PARTS.items())
    yield CHECKED.format(
        predicted=predicted,
        made=made,
        off=abs(predicted / made - 1),
        users=large["users"],
        waiting=large["waiting"],
        factors=factors,
        machine=_times(large, small, "idle", "prefect-server"),
    )


def _times(large: Mapping[str, Any], small: Mapping[str, Any], of: str, part: str) -> str:
    cpu = f"CPU of {part}, s"
    return _rounded(large[of][cpu] / small[of][cpu])


def _rounded(number: float) -> str:
    """Two digits that count: a model knows no more."""
    if not number:
        return "0"
    digits = 1 - math.floor(math.log10(abs(number)))
    return f"{round(number, digits):,.{max(0, digits)}f}"
