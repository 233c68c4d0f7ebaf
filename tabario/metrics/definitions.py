"""Every metric of the project, once.

The first sixteen names carry no prefix because dashboards and alerts elsewhere rely on them; the others begin with
`video_orchestrator_`. A label never holds an id of a run, a job or a user, a file's name or the text of an error.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from tabario import names
from tabario.metrics.series import Counter, Gauge, Histogram, Label, Metric
from tabario.settings import VoiceEngineName
from tabario.styles import STYLES
from tabario.tiers import Tier

HTTP_SUCCESS_STATUSES: Final = range(100, 300)
HTTP_REFUSALS: Final = range(300, 500)

_TIER: Final = Label("tier", tuple(tier.value for tier in Tier))
_WORK_QUEUE: Final = Label("work_queue", tuple(names.WORK_QUEUES.values()))
_REASON: Final = Label("reason", ("timeout", "error"), fallback="error")
_STEP: Final = Label("step", ("text2image",))
_WORKFLOW: Final = Label("workflow", tuple(sorted({style.workflow for style in STYLES.values()})))
_ENDPOINT: Final = Label("endpoint", ("/prompt", "/history", "/view", "/queue", "/upload/image", "/interrupt"))
_STATUS: Final = Label("status", ("2xx", "4xx", "5xx"))
_SOURCE: Final = Label("source", ("recorded", "queue", "runs", "workers", "slots"))

_IMAGE_SECONDS: Final = (10, 20, 40, 60, 120, 300, 600, 1200)
_JOB_SECONDS: Final = (10, 30, 60, 120, 300, 600, 1200, 3600)
_HTTP_SECONDS: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60)
_VOICEOVER_SECONDS: Final = (1, 2, 5, 10, 20, 40, 60, 120)
_WAIT_SECONDS: Final = (1, 5, 15, 30, 60, 300, 900, 3600)
_DELIVERY_SECONDS: Final = (1, 5, 30, 120, 600, 3600, 14_400, 86_400)

SLOW_IMAGE_SECONDS: Final = 900


def status_class(status_code: int) -> str:
    """Value of the label `status` for an HTTP status.

    Our clients follow no redirect: a proxy that sends us to its login page has refused the request.
    """
    if status_code in HTTP_SUCCESS_STATUSES:
        return "2xx"
    return "4xx" if status_code in HTTP_REFUSALS else "5xx"


# --- the names of the specification ---

VOICEOVER_GENERATION_SECONDS: Final = Histogram(
    "voiceover_generation_seconds", "Time to speak a script.", buckets=_VOICEOVER_SECONDS
)
VOICEOVER_FAILURES: Final = Counter("voiceover_failures_total", "Scripts that could not be spoken.", labels=(_REASON,))
IMAGE_GENERATION_SECONDS: Final = Histogram(
    "image_generation_seconds",
    "Time from submitting a picture until it is there or has failed.",
    labels=(_STEP, _WORKFLOW),
    buckets=_IMAGE_SECONDS,
)
IMAGE_GENERATION_FAILURES: Final = Counter(
    "image_generation_failures_total", "Pictures that could not be made.", labels=(_REASON,)
)
TOTAL_IMAGES_GENERATION_SECONDS: Final = Histogram(
    "total_images_generation_seconds", "Time for all pictures of a job.", buckets=_JOB_SECONDS
)
IMAGES_GENERATED: Final = Counter("images_generated_total", "Pictures made.", labels=(_WORKFLOW,))
QUEUE_DEPTH: Final = Gauge("queue_depth", "Accepted jobs that have not started.")
JOBS_ENQUEUED: Final = Counter("jobs_enqueued_total", "Jobs accepted.")
JOBS_STARTED: Final = Counter("jobs_started_total", "Jobs that a worker began.")
JOBS_COMPLETED: Final = Counter("jobs_completed_total", "Jobs that ended with a film.")
JOBS_FAILED: Final = Counter(
    "jobs_failed_total",
    "Jobs that ended without a film, cancelled ones left out.",
    labels=(Label("reason", ("timeout", "error", "crashed"), fallback="error"),),
)
JOB_TOTAL_SECONDS: Final = Histogram("job_total_seconds", "Time from acceptance to the end.", buckets=_JOB_SECONDS)
WORKER_ACTIVE: Final = Gauge("worker_active", "1 while at least one worker of the pool is online, else 0.")
COMFYUI_REQUESTS: Final = Counter(
    "comfyui_requests_total", "Requests that ComfyUI answered.", labels=(_ENDPOINT, _STATUS)
)
COMFYUI_REQUEST_SECONDS: Final = Histogram(
    "comfyui_request_seconds", "Time until ComfyUI answered a request.", labels=(_ENDPOINT,), buckets=_HTTP_SECONDS
)
REDIS_ERRORS: Final = Counter("redis_errors_total", "Redis operations that failed.")

# --- recorded by the front door, the flow and their clients ---

QUEUE_WAIT_SECONDS: Final = Histogram(
    "video_orchestrator_queue_wait_seconds",
    "Time from acceptance until a worker began.",
    labels=(_WORK_QUEUE,),
    buckets=_WAIT_SECONDS,
)
SUBMISSIONS_REJECTED: Final = Counter(
    "video_orchestrator_submissions_rejected_total",
    "Valid submissions that were refused.",
    labels=(_TIER, Label("reason", ("slots_full", "unavailable"), fallback="unavailable")),
)
TIER_LOOKUPS: Final = Counter(
    "video_orchestrator_tier_lookups_total",
    "Questions to the database for a user's tier.",
    labels=(Label("outcome", ("answered", "unavailable", "misconfigured")),),
)
VOICE_FALLBACKS: Final = Counter(
    "video_orchestrator_voice_fallbacks_total",
    "Scripts that another voice engine spoke because the chosen one could not.",
    labels=(Label("engine", tuple(engine.value for engine in VoiceEngineName)),),
)
QUEUE_DRIFT: Final = Counter(
    "video_orchestrator_queue_drift_total",
    "Entries of the list of waiting jobs that had to be removed (ghost) or added (missing).",
    labels=(Label("kind", ("ghost", "missing")),),
)
LEASE_RENEWALS: Final = Counter("video_orchestrator_lease_renewals_total", "Leases of slots that were renewed.")
LEASE_EXPIRIES: Final = Counter(
    "video_orchestrator_lease_expiries_total", "Leases that were found gone while their run lived."
)
SLOTS_MENDED: Final = Counter(
    "video_orchestrator_slots_mended_total",
    "Slots that Prefect counted without a run (freed), or runs whose slot it had lost (counted, reclaimed).",
    labels=(Label("kind", ("freed", "counted", "reclaimed")),),
)
PROCESSES_LOST: Final = Counter(
    "video_orchestrator_processes_lost_total",
    "Runs that were declared dead: their process was silent, or did not start in time.",
)
SCENES_REGENERATED: Final = Counter(
    "video_orchestrator_scenes_regenerated_total", "Jobs accepted that make one scene of another job anew."
)
JOBS_CANCELLED: Final = Counter("video_orchestrator_jobs_cancelled_total", "Jobs that were cancelled.")
JOBS_RESUMED: Final = Counter("video_orchestrator_jobs_resumed_total", "Times that a job was begun again.")
COMFYUI_REQUEST_ERRORS: Final = Counter(
    "video_orchestrator_comfyui_request_errors_total",
    "Requests that ComfyUI did not answer.",
    labels=(Label("reason", ("connect", "timeout", "error"), fallback="error"),),
)
COMFYUI_BUSY_SECONDS: Final = Counter(
    "video_orchestrator_comfyui_busy_seconds_total", "Time that the servers' executors spent on finished pictures."
)
IMAGE_GENERATION_SLOW: Final = Counter(
    "video_orchestrator_image_generation_slow_total", f"Pictures that took over {SLOW_IMAGE_SECONDS} s."
)
WEBHOOK_ATTEMPTS: Final = Counter(
    "video_orchestrator_webhook_attempts_total",
    "Attempts to deliver a completion webhook.",
    labels=(Label("outcome", ("delivered", "retried", "given_up")),),
)
WEBHOOK_DELIVERY_SECONDS: Final = Histogram(
    "video_orchestrator_webhook_delivery_seconds",
    "Time from the end of a job until its webhook was delivered.",
    buckets=_DELIVERY_SECONDS,
)
STAGE_SECONDS: Final = Counter(
    "video_orchestrator_stage_seconds_total",
    "Time that ended jobs spent in each stage, over all tries.",
    labels=(_TIER, Label("stage", ("voiceover", "scene_plan", "images", "merge", "publish"))),
)
CHARACTERS_SPOKEN: Final = Counter(
    "video_orchestrator_characters_spoken_total", "Characters that ended jobs had spoken.", labels=(_TIER,)
)
GPU_SECONDS: Final = Counter(
    "video_orchestrator_gpu_seconds_total", "Time that ComfyUI worked for ended jobs.", labels=(_TIER,)
)
PICTURES_PAINTED: Final = Counter(
    "video_orchestrator_pictures_painted_total", "Pictures that ended jobs had painted.", labels=(_TIER,)
)
BYTES_STORED: Final = Counter(
    "video_orchestrator_stored_bytes_total", "Bytes of the films of ended jobs.", labels=(_TIER,)
)
VIDEO_SECONDS_PRODUCED: Final = Counter("video_orchestrator_video_seconds_produced_total", "Length of all films made.")
COUNTER_ROLLBACKS: Final = Counter(
    "video_orchestrator_counter_rollbacks_total", "Times that Redis lost counts and counting began anew."
)

# --- read by the exporter ---

WAITING_RUNS: Final = Gauge(
    "video_orchestrator_waiting_runs", "Flow runs that wait for a worker.", labels=(_WORK_QUEUE,)
)
QUEUE_OLDEST_AGE_SECONDS: Final = Gauge(
    "video_orchestrator_queue_oldest_age_seconds", "How long the oldest run has been due.", labels=(_WORK_QUEUE,)
)
FLOW_RUNS: Final = Gauge(
    "video_orchestrator_flow_runs",
    "Flow runs that have not ended.",
    labels=(Label("state", ("scheduled", "pending", "running", "paused", "cancelling")),),
)
WEBHOOKS_PENDING: Final = Gauge(
    "video_orchestrator_webhooks_pending", "Completion webhooks that are still to be delivered."
)
FLOW_RUNS_LATE: Final = Gauge("video_orchestrator_flow_runs_late", "Flow runs that no worker picked up in time.")
WORKERS: Final = Gauge(
    "video_orchestrator_workers",
    "Workers that Prefect knows.",
    labels=(Label("work_pool", (names.WORK_POOL,)), Label("status", ("online", "offline"), fallback="offline")),
)
WORKERS_NEW: Final = Gauge(
    "video_orchestrator_workers_new", "Workers that Prefect first heard of within the last hour: each start is one."
)
SLOTS_IN_USE: Final = Gauge("video_orchestrator_slots_in_use", "Slots that users hold.", labels=(_TIER,))
SLOTS_LIMIT: Final = Gauge("video_orchestrator_slots_limit", "Slots of one user.", labels=(_TIER,))
EXPORTER_SOURCE_UP: Final = Gauge(
    "video_orchestrator_exporter_source_up", "1 when the last read of a source succeeded.", labels=(_SOURCE,)
)
EXPORTER_COLLECT_DURATION_SECONDS: Final = Gauge(
    "video_orchestrator_exporter_collect_duration_seconds", "Time of the last read of a source.", labels=(_SOURCE,)
)
EXPORTER_LAST_SUCCESS_TIMESTAMP_SECONDS: Final = Gauge(
    "video_orchestrator_exporter_last_success_timestamp_seconds",
    "Unix time of the last good read of a source.",
    labels=(_SOURCE,),
)
START_TIME_SECONDS: Final = Gauge(
    "video_orchestrator_start_time_seconds", "Unix time at which this process, or the youngest of a group, began."
)
BUILD_INFO: Final = Gauge(
    "video_orchestrator_build_info",
    "1; the label says what runs.",
    labels=(Label("version", (version("tabario-flows"),)),),
)

ALL: Final[tuple[Metric, ...]] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
RECORDED: Final[tuple[Counter | Histogram, ...]] = tuple(m for m in ALL if isinstance(m, Counter | Histogram))
