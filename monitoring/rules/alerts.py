"""When somebody has to look.

A ratio has a floor of events under it, so that one failure in a quiet night wakes nobody. A present state is read over
a short time, so that one lost scrape does not start an alert's waiting anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monitoring.rules import recordings as recorded
from monitoring.rules.pace import Pace
from monitoring.rules.rule import Alert, Severity
from monitoring.rules.scraping import WHOLE_JOB
from tabario.metrics import definitions as metrics
from tabario.settings import AlertSettings

FLOOR: Final = 5  # events
BUDGET: Final = 0.01  # share of jobs that may fail in a month
FAST_BURN, SLOW_BURN = 14.4, 6.0  # a month's budget in two days, in five days
FEWEST_FAILED: Final = 3  # jobs; of fewer a ratio says little
STALE_SECONDS: Final = 120
PREMIUM_WAIT_SECONDS: Final = 300
RESTARTS, RESUMES, DRIFTS = 2, 3, 5
STARTS: Final = 2  # of each worker in an hour
CALLS: Final = 20


def alerts(settings: AlertSettings, pace: Pace) -> tuple[Alert, ...]:
    """Every alert."""
    return (*_of_jobs(settings, pace), *_of_pictures(pace), *_of_processes(pace), *_of_bookkeeping(pace))


def _of_jobs(settings: AlertSettings, pace: Pace) -> Iterator[Alert]:
    t = pace.duration
    yield Alert(
        "QueueDepthHigh",
        f"max by (job) (last_over_time({metrics.QUEUE_DEPTH.name}[{t('2m')}])) > {settings.queue_depth}",
        t("10m"),
        Severity.WARNING,
        f"More than {settings.queue_depth} jobs have waited for 10 minutes",
        "{{ $value }} accepted jobs wait for a worker.",
    )
    yield Alert(
        "PremiumJobsWait",
        f"max by (job) (last_over_time({metrics.QUEUE_OLDEST_AGE_SECONDS.name}"
        f'{{work_queue="premium"}}[{t("2m")}])) > {pace.seconds(PREMIUM_WAIT_SECONDS)}',
        t("5m"),
        Severity.WARNING,
        "A premium job has waited for more than 5 minutes",
        "The oldest premium job has been due for {{ $value | humanizeDuration }}.",
    )
    share = settings.failure_percent / 100
    yield Alert(
        "JobFailureRateHigh",
        f"{recorded.failure_ratio('15m')} > {share:g} and {recorded.ended('15m')} >= {FLOOR}",
        t("5m"),
        Severity.CRITICAL,
        f"More than {settings.failure_percent:g} % of the jobs failed over 15 minutes",
        "{{ $value | humanizePercentage }} of the jobs that ended have failed.",
    )
    yield _budget_burn("Fast", FAST_BURN, ("1h", "5m"), Severity.CRITICAL, pace)
    yield _budget_burn("Slow", SLOW_BURN, ("6h", "30m"), Severity.WARNING, pace)


def _budget_burn(name: str, burn: float, windows: tuple[str, str], severity: Severity, pace: Pace) -> Alert:
    (long, short), limit = windows, f"{burn * BUDGET:g}"
    return Alert(
        f"JobBudgetBurn{name}",
        f"{recorded.failure_ratio(long)} > {limit} and {recorded.failure_ratio(short)} > {limit}"
        f" and {recorded.failed(long)} >= {FEWEST_FAILED}",
        pace.duration("2m"),
        severity,
        f"Jobs fail {burn:g} times as often as 1 in 100 over {long} and over {short}",
        f"{{{{ $value | humanizePercentage }}}} of the jobs of {long} have failed.",
    )


def _of_pictures(pace: Pace) -> Iterator[Alert]:
    t, name = pace.duration, metrics.IMAGE_GENERATION_SECONDS.name
    made = f"sum by (job) (increase({name}_count[{t('15m')}]))"
    slow = f"sum by (job) (increase({metrics.IMAGE_GENERATION_SLOW.name}[{t('15m')}]))"
    limit = metrics.SLOW_IMAGE_SECONDS
    yield Alert(
        "ImageGenerationSlow",
        f"{recorded.p95(metrics.IMAGE_GENERATION_SECONDS)} > {limit} and {made} >= {FLOOR}",
        t("5m"),
        Severity.WARNING,
        "The 95th percentile of a picture's time is above 15 minutes",
        "Estimated from buckets: {{ $value | humanizeDuration }} over 15 minutes.",
    )
    yield Alert(
        "ImagesOverLimit",
        f"{slow} / ({made} > 0) > 0.05 and {made} >= {FLOOR}",
        t("5m"),
        Severity.WARNING,
        "More than 5 % of the pictures took over 15 minutes",
        "{{ $value | humanizePercentage }} of the pictures took over 15 minutes, counted one by one.",
    )
    yield Alert(
        "ComfyuiErrors",
        f"{recorded.COMFYUI_ERROR_RATIO} > 0.1 and {recorded.COMFYUI_CALLS} >= {CALLS}",
        t("5m"),
        Severity.WARNING,
        "More than 10 % of the requests to ComfyUI failed over 15 minutes",
        "{{ $value | humanizePercentage }} of the requests were refused or not answered.",
    )


def _of_processes(pace: Pace) -> Iterator[Alert]:
    t = pace.duration
    yield Alert(
        "WorkerInactive",
        f"max by (job) (max_over_time({metrics.WORKER_ACTIVE.name}[{t('2m')}])) == 0",
        t("3m"),
        Severity.CRITICAL,
        "No worker is online",
        "Prefect has seen no worker of the pool for 5 minutes, so no job starts.",
    )
    yield Alert(
        "RestartSpike",
        f"changes({metrics.START_TIME_SECONDS.name}[{t('15m')}]) > {RESTARTS}",
        None,
        Severity.WARNING,
        "A process was restarted more than twice in 15 minutes",
        "{{ $labels.instance }} was restarted {{ $value }} times.",
    )
    new = f"max by (job) (last_over_time({metrics.WORKERS_NEW.name}[{t('2m')}]))"
    online = f'max by (job) (max_over_time({metrics.WORKERS.name}{{status="online"}}[{t("1h")}]))'
    yield Alert(
        "WorkerRestarts",
        f"{new} > {STARTS} * {online}",  # a deployment starts each worker once, a second one mends the first
        None,
        Severity.WARNING,
        "Workers are restarted again and again",
        "{{ $value }} workers began within an hour, more than twice as many as there are.",
    )
    yield Alert(
        "JobsResumedSpike",
        f"sum by (job) (increase({metrics.JOBS_RESUMED.name}[{t('15m')}])) > {RESUMES}",
        None,
        Severity.WARNING,
        f"More than {RESUMES} jobs had to be started again in 15 minutes",
        "{{ $value | humanize }} times a job's process died and the job was started again.",
    )
    whole = f'up{{job="{WHOLE_JOB}"}}'
    yield Alert(
        "ExporterDown",
        f"{whole} == 0 or absent({whole})",
        t("5m"),
        Severity.CRITICAL,
        "The metrics cannot be read",
        "Prometheus has not reached the target that shows everything for 5 minutes: all other alerts are blind.",
    )
    yield Alert(
        "ExporterStale",
        f"time() - {metrics.EXPORTER_LAST_SUCCESS_TIMESTAMP_SECONDS.name} > {pace.seconds(STALE_SECONDS)}"
        f" or {metrics.EXPORTER_SOURCE_UP.name} == 0",
        t("2m"),
        Severity.WARNING,
        "A source of the metrics does not answer",
        "The source {{ $labels.source }} does not answer; what it shows is missing or old.",
    )


def _of_bookkeeping(pace: Pace) -> Iterator[Alert]:
    t = pace.duration
    in_use = f"sum by (job) (last_over_time({metrics.SLOTS_IN_USE.name}[{t('2m')}]))"
    # Slots are read a page of users at a time, so with thousands of users the sum is minutes old, and more than the
    # runs of now while these become fewer. It is compared with the most runs of those minutes.
    live = f"max_over_time((sum by (job) ({metrics.FLOW_RUNS.name}))[{t('10m')}:])"
    yield Alert(
        "SlotsLeaked",
        f"{in_use} > {live}",
        t("10m"),
        Severity.WARNING,
        "More slots are taken than there are jobs",
        "{{ $value }} slots are in use, more than there are runs: users may be refused for nothing.",
    )
    yield Alert(
        "QueueDrift",
        f"sum by (job) (increase({metrics.QUEUE_DRIFT.name}[{t('1h')}])) > {DRIFTS}",
        None,
        Severity.WARNING,
        f"The list of waiting jobs was wrong more than {DRIFTS} times in an hour",
        "{{ $value | humanize }} entries had to be added or removed.",
    )
    yield Alert(
        "RedisErrors",
        f"sum by (job) (increase({metrics.REDIS_ERRORS.name}[{t('5m')}])) > 0",
        t("2m"),
        Severity.WARNING,
        "Redis operations fail",
        "{{ $value | humanize }} operations failed over 5 minutes. Counts are kept and sent later.",
    )
    yield Alert(
        "CountersRolledBack",
        f"sum by (job) (increase({metrics.COUNTER_ROLLBACKS.name}[{t('1h')}])) > 0",
        None,
        Severity.WARNING,
        "Redis lost counts and counting began anew",
        "Redis came back with older data. Rates stay right; what was recorded in between is lost.",
    )
