"""Every name that two processes share. Metric names live in `tabario.metrics.definitions`."""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

from tabario.tiers import Tier

FLOW: Final = "generate-video"
DEPLOYMENT: Final = "production"
PRUNE_FLOW: Final = "prune-media"
PRUNE_DEPLOYMENT: Final = "daily"
DEPLOYMENT_PATH: Final = f"{FLOW}/{DEPLOYMENT}"
WORK_POOL: Final = "tabario"
WORK_QUEUES: Final[dict[Tier, str]] = {Tier.PREMIUM: "premium", Tier.STANDARD: "standard"}
WORK_QUEUE_PRIORITY: Final[dict[Tier, int]] = {Tier.PREMIUM: 1, Tier.STANDARD: 2}  # 1 goes first; equals go by age

COMFYUI_BLOCK: Final = "tabario"
VOICE_BLOCK: Final = "tabario"
MEDIA_STORE_BLOCK: Final = "tabario"
REDIS_BLOCK: Final = "tabario"

QUEUE_KEY: Final = "video_orchestrator:queue"
METRICS_KEY: Final = "video_orchestrator:metrics"
KEEPER_LOCK_KEY: Final = "video_orchestrator:keeper:lock"
KEEPER_FENCE_KEY: Final = "video_orchestrator:keeper:fence"
KEEPER_FRESH_KEY: Final = "video_orchestrator:keeper:fresh"
KEEPER_SWEPT_KEY: Final = "video_orchestrator:keeper:swept"
KEEPER_SIGHTS_KEY: Final = "video_orchestrator:keeper:sights"
RATE_PREFIX: Final = "video_orchestrator:rate"  # of the lists of a user's latest requests
CLAIMS_KEY: Final = "video_orchestrator:claims"
PLACES_KEY: Final = "video_orchestrator:places"  # hash: every picture that has or wants a place at a ComfyUI server
PLACES_PROCESSES_KEY: Final = "video_orchestrator:places:processes"
PLACES_TURNS_KEY: Final = "video_orchestrator:places:turns"
PLACES_MODELS_KEY: Final = "video_orchestrator:places:models"
COMFYUI_TROUBLE_KEY: Final = "video_orchestrator:comfyui:trouble"
COMFYUI_DRAINING_KEY: Final = "video_orchestrator:comfyui:draining"
WEBHOOKS_DUE_KEY: Final = "video_orchestrator:webhooks:due"
WEBHOOKS_LOG_KEY: Final = "video_orchestrator:webhooks:log"
COURIER_LOCK_KEY: Final = "video_orchestrator:courier:lock"
COURIER_FENCE_KEY: Final = "video_orchestrator:courier:fence"

LEASE_LABEL: Final = "tabario.lease"
JOB_LABEL: Final = "tabario.job"
TIER_LABEL: Final = "tabario.tier"

SLOT_LIMIT_PREFIX: Final = "tabario-user-"


def slot_limit(user_id: str) -> str:
    """Name of the user's global concurrency limit in Prefect."""
    return f"{SLOT_LIMIT_PREFIX}{user_id}"


def workflow_id(user_id: str, run_id: str) -> str:
    """Name of the flow run, which is what clients call the workflow id."""
    return f"tabario-user-{user_id}-{run_id}"


def user_hash(user_id: str) -> str:
    """Twelve hex digits that stand for a user where people can see them."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:12]


def user_tag(user_id: str) -> str:
    """Tag of every flow run of a user."""
    return f"user:{user_hash(user_id)}"


def tier_tag(tier: Tier) -> str:
    """Tag of every flow run of a tier."""
    return f"tier:{tier.value}"


def record_key(job_id: str) -> str:
    """Redis hash with what is known of a job: stage, progress, error, timings, files."""
    return f"video_orchestrator:job:{job_id}"


def changes_key(job_id: str) -> str:
    """Redis stream with the latest versions of a job's record."""
    return f"video_orchestrator:changes:{job_id}"


def run_reference_key(user_id: str, run_id: str) -> str:
    """Redis string that reserves a client's run_id for one job of one user."""
    return f"video_orchestrator:run:{user_hash(user_id)}:{run_id}"


def idempotency_key(user_id: str, key: str) -> str:
    """Redis string with what was started under a user's Idempotency-Key."""
    return f"video_orchestrator:idempotency:{_digest(user_id, key)}"


def idempotency_lock_key(user_id: str, key: str) -> str:
    """Redis string that lets one request at a time start something under a user's Idempotency-Key."""
    return f"video_orchestrator:idempotency-lock:{_digest(user_id, key)}"


def _digest(user_id: str, key: str) -> str:
    return hashlib.sha256(f"{user_id}/{key}".encode()).hexdigest()


def tier_key(user_id: str) -> str:
    """Redis string with the last known tier of a user, and when it was known."""
    return f"video_orchestrator:tier:{user_id}"


def given_key(ticket: str) -> str:
    """Redis set of the ComfyUI servers that may have been sent a picture."""
    return f"video_orchestrator:places:given:{ticket}"


def metrics_event_key(event_id: str) -> str:
    """Redis string that remembers for a day that an event was counted."""
    return f"video_orchestrator:metrics:event:{event_id}"


def release_key(lease_id: UUID) -> str:
    """Redis string that elects the one who releases a lease."""
    return f"video_orchestrator:release:{lease_id}"


def mending_key(limit: str) -> str:
    """Redis string that closes one limit to new claims while its count is repaired."""
    return f"video_orchestrator:mending:{limit}"


def ending_key(flow_run_id: UUID) -> str:
    """Redis string that elects the one who settles an ended run."""
    return f"video_orchestrator:ending:{flow_run_id}"


def ended_key(flow_run_id: UUID) -> str:
    """Redis set of what has been done since a run ended."""
    return f"video_orchestrator:ended:{flow_run_id}"


def resumes_key(flow_run_id: UUID) -> str:
    """Redis counter of how often a run was resumed after a crash."""
    return f"video_orchestrator:resumes:{flow_run_id}"


def moving_key(flow_run_id: UUID) -> str:
    """Redis string that lets one at a time move a crashed run on."""
    return f"video_orchestrator:moving:{flow_run_id}"


def beat_key(flow_run_id: UUID) -> str:
    """Redis counter that a flow's process raises as long as it lives."""
    return f"video_orchestrator:beat:{flow_run_id}"


def webhook_key(message_id: str) -> str:
    """Redis string with a webhook's message and the log of its attempts."""
    return f"video_orchestrator:webhook:{message_id}"
