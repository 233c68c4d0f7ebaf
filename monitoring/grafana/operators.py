"""The operators' overview: does it work, what waits, what fails, how long things take."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.board import (
    BYTES,
    JOB,
    NUMBER,
    PER_MINUTE,
    RATE,
    SECONDS,
    SHARE,
    WINDOW,
    Chart,
    Figure,
    Panel,
    Query,
    board,
    nothing_of,
    per_minute,
    quantile,
    quantiles,
    series,
)
from monitoring.rules.recordings import ended, failure_ratio
from monitoring.rules.rule import SERVICE
from tabario.metrics import definitions as m
from tabario.settings import AlertSettings


def operators(settings: AlertSettings) -> Dashboard:
    """The dashboard. A number turns red where the alert about it would begin to wait."""
    rows = {
        "Now": _now(settings),
        "Jobs": _jobs(),
        "Stages": _stages(),
        "Failures": _failures(),
        "Workers, runs and slots": _capacity(),
        "Metrics and processes": _metrics(),
    }
    return board(
        "tabario-operators", "Tabario operators", "Does it work, what waits, what fails, how long it takes.", rows
    )


def _now(settings: AlertSettings) -> Sequence[Panel]:
    firing = f'count(ALERTS{{alertstate="firing", service="{SERVICE}"}}) or {nothing_of(ended("15m"))}'
    down = f"sum(1 - {series(m.EXPORTER_SOURCE_UP)})"
    running = f"sum({series(m.FLOW_RUNS, state='running')})"
    ratio = f"max({failure_ratio('15m')}{{{JOB}}}) or {nothing_of(ended('15m'))}"
    return (
        Figure("Alerts firing", "Alerts of this service that fire now.", NUMBER, firing, bad_from=1),
        Figure(
            "Worker active",
            "1 while Prefect sees an online worker.",
            NUMBER,
            f"max({series(m.WORKER_ACTIVE)})",
            good_from=1,
        ),
        Figure(
            "Jobs waiting",
            "Accepted jobs that no worker has begun.",
            NUMBER,
            f"max({series(m.QUEUE_DEPTH)})",
            bad_from=settings.queue_depth + 1,
        ),
        Figure("Jobs running", "Flow runs in the state Running.", NUMBER, running),
        Figure(
            "Failed, 15 minutes",
            "Share of failed jobs among those that ended.",
            SHARE,
            ratio,
            bad_from=settings.failure_percent / 100,
        ),
        Figure("Sources down", "Sources of the exporter that do not answer.", NUMBER, down, bad_from=1),
    )


def _jobs() -> Sequence[Panel]:
    rates = (
        Query(per_minute(m.JOBS_ENQUEUED), "enqueued"),
        Query(per_minute(m.JOBS_STARTED), "started"),
        Query(per_minute(m.JOBS_COMPLETED), "completed"),
        Query(per_minute(m.JOBS_FAILED), "failed"),
    )
    return (
        Chart("Jobs enqueued and ended", "When more come than end, the queue grows.", PER_MINUTE, rates),
        Chart(
            "Queue depth",
            "Length of the list of accepted jobs that have not begun.",
            NUMBER,
            (Query(f"max({series(m.QUEUE_DEPTH)})", "waiting"),),
        ),
        Chart(
            "Job total time",
            "From acceptance to the end, cancelled jobs left out.",
            SECONDS,
            quantiles(m.JOB_TOTAL_SECONDS),
        ),
        Chart(
            "Wait by work queue, P95",
            "From acceptance until a worker began.",
            SECONDS,
            (Query(quantile(m.QUEUE_WAIT_SECONDS, 0.95, by="work_queue"), "{{work_queue}}"),),
        ),
        Chart(
            "Runs that wait, by work queue",
            "Flow runs that are due and that no worker has taken.",
            NUMBER,
            (Query(f"sum by (work_queue) ({series(m.WAITING_RUNS)})", "{{work_queue}}"),),
        ),
        Chart(
            "Oldest waiting run, by work queue",
            "For how long it has been due.",
            SECONDS,
            (Query(f"max by (work_queue) ({series(m.QUEUE_OLDEST_AGE_SECONDS)})", "{{work_queue}}"),),
        ),
    )


def _stages() -> Sequence[Panel]:
    return (
        Chart("Voiceover time", "Time to speak a script.", SECONDS, quantiles(m.VOICEOVER_GENERATION_SECONDS)),
        Chart(
            "Time of one picture",
            "From submitting it until it is there or has failed.",
            SECONDS,
            quantiles(m.IMAGE_GENERATION_SECONDS),
        ),
        Chart(
            "Time of all pictures of a job",
            "The whole image loop.",
            SECONDS,
            quantiles(m.TOTAL_IMAGES_GENERATION_SECONDS),
        ),
    )


def _failures() -> Sequence[Panel]:
    errors = f'sum by (endpoint, status) (rate({m.COMFYUI_REQUESTS.name}{{{JOB}, status!="2xx"}}{RATE})) * 60'
    return (
        Chart(
            "Job failures by reason",
            "Jobs that ended without a film.",
            PER_MINUTE,
            (Query(per_minute(m.JOBS_FAILED, by="reason"), "{{reason}}"),),
        ),
        Chart(
            "Failures by stage",
            "Tries that failed; a repeated try may have succeeded.",
            PER_MINUTE,
            (
                Query(per_minute(m.VOICEOVER_FAILURES, by="reason"), "voiceover, {{reason}}"),
                Query(per_minute(m.VOICE_FALLBACKS, by="engine"), "spoken by {{engine}} instead"),
                Query(per_minute(m.IMAGE_GENERATION_FAILURES, by="reason"), "picture, {{reason}}"),
            ),
        ),
        Chart(
            "ComfyUI HTTP errors",
            "Requests that ComfyUI refused, and those that it did not answer.",
            PER_MINUTE,
            (
                Query(errors, "{{endpoint}} {{status}}"),
                Query(per_minute(m.COMFYUI_REQUEST_ERRORS, by="reason"), "no answer: {{reason}}"),
            ),
        ),
    )


def _capacity() -> Sequence[Panel]:
    return (
        Chart(
            "Worker active",
            "1 while at least one worker is online, how many workers there are, and how many began within an hour.",
            NUMBER,
            (
                Query(f"max({series(m.WORKER_ACTIVE)})", "active"),
                Query(f"sum by (status) ({series(m.WORKERS)})", "{{status}}"),
                Query(f"max({series(m.WORKERS_NEW)})", "new within an hour"),
            ),
        ),
        Chart(
            "Flow runs that have not ended",
            "By state; late ones are due and were not picked up in time.",
            NUMBER,
            (
                Query(f"sum by (state) ({series(m.FLOW_RUNS)})", "{{state}}"),
                Query(f"sum({series(m.FLOW_RUNS_LATE)})", "late"),
            ),
        ),
        Chart(
            "Slots and runs",
            "Slots that users hold against runs that have not ended: more slots than runs is a leak.",
            NUMBER,
            (
                Query(f"sum({series(m.SLOTS_IN_USE)})", "slots in use"),
                Query(f"sum({series(m.FLOW_RUNS)})", "runs"),
            ),
        ),
        Chart(
            "Leases of slots",
            "Renewed while a job lives; one that is gone before is claimed anew.",
            PER_MINUTE,
            (
                Query(per_minute(m.LEASE_RENEWALS), "renewed"),
                Query(per_minute(m.LEASE_EXPIRIES), "gone"),
            ),
        ),
        Chart(
            "Slots mended",
            "Slots that Prefect counted without a run, and runs whose slot it had lost.",
            NUMBER,
            (Query(f"sum by (kind) (increase({series(m.SLOTS_MENDED)}{WINDOW}))", "{{kind}}"),),
        ),
        Chart(
            "Processes lost and jobs begun again",
            "Jobs whose process fell silent, and jobs that were started once more.",
            NUMBER,
            (
                Query(f"sum(increase({series(m.PROCESSES_LOST)}{WINDOW}))", "lost"),
                Query(f"sum(increase({series(m.JOBS_RESUMED)}{WINDOW}))", "begun again"),
            ),
        ),
        Chart(
            "Repairs of the list of waiting jobs",
            "Entries without a run, and runs without an entry.",
            NUMBER,
            (Query(f"sum by (kind) (increase({series(m.QUEUE_DRIFT)}{WINDOW}))", "{{kind}}"),),
        ),
        Chart(
            "Webhooks by outcome",
            "Attempts to tell the app of a job's end; given up means that nobody will try again.",
            PER_MINUTE,
            (Query(per_minute(m.WEBHOOK_ATTEMPTS, by="outcome"), "{{outcome}}"),),
        ),
        Chart(
            "Webhooks waiting",
            "Still to be delivered, and how long the slow ones took.",
            NUMBER,
            (
                Query(f"sum({series(m.WEBHOOKS_PENDING)})", "waiting"),
                Query(quantile(m.WEBHOOK_DELIVERY_SECONDS, 0.95), "seconds until delivered, P95"),
            ),
        ),
        Chart(
            "Questions for a user's tier",
            "How the database answered.",
            PER_MINUTE,
            (Query(per_minute(m.TIER_LOOKUPS, by="outcome"), "{{outcome}}"),),
        ),
    )


def _metrics() -> Sequence[Panel]:
    return (
        Chart(
            "Sources",
            "1 while the exporter's last read of a source succeeded.",
            NUMBER,
            (Query(f"min by (source) ({series(m.EXPORTER_SOURCE_UP)})", "{{source}}"),),
            width=6,
        ),
        Chart(
            "Time to read a source",
            "A read that takes longer than the poll interval counts as failed.",
            SECONDS,
            (Query(f"max by (source) ({series(m.EXPORTER_COLLECT_DURATION_SECONDS)})", "{{source}}"),),
            width=6,
        ),
        Chart(
            "Age of the last good read",
            "Normal is less than the poll interval.",
            SECONDS,
            (Query(f"max by (source) (time() - {series(m.EXPORTER_LAST_SUCCESS_TIMESTAMP_SECONDS)})", "{{source}}"),),
            width=6,
        ),
        Chart(
            "Redis errors and lost counts",
            "Operations that failed, and times that Redis came back with older data.",
            NUMBER,
            (
                Query(f"sum(increase({series(m.REDIS_ERRORS)}{WINDOW}))", "errors"),
                Query(f"sum(increase({series(m.COUNTER_ROLLBACKS)}{WINDOW}))", "lost counts"),
            ),
            width=6,
        ),
        Chart(
            "Restarts",
            "Changes of a process's start time in the window.",
            NUMBER,
            (Query(f"changes({series(m.START_TIME_SECONDS)}{WINDOW})", "{{instance}}"),),
        ),
        Chart(
            "Memory",
            "Of the scraped processes.",
            BYTES,
            (Query(f"process_resident_memory_bytes{{{JOB}}}", "{{instance}}"),),
        ),
        Chart(
            "Processor time",
            "Of the scraped processes; 1 is one core.",
            SHARE,
            (Query(f"rate(process_cpu_seconds_total{{{JOB}}}{RATE})", "{{instance}}"),),
        ),
    )
