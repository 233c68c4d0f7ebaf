"""ComfyUI as the jobs see it: pictures and requests."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.board import (
    JOB,
    NUMBER,
    PER_MINUTE,
    SECONDS,
    SHARE,
    WINDOW,
    Chart,
    Figure,
    Panel,
    Query,
    board,
    grown,
    nothing_of,
    per_minute,
    quantile,
    quantiles,
    series,
)
from monitoring.rules.recordings import COMFYUI_CALLS, COMFYUI_ERROR_RATIO, p95
from tabario.metrics import definitions as m


def comfyui() -> Dashboard:
    """The dashboard."""
    rows = {"Now": _now(), "Pictures": _pictures(), "Requests": _requests()}
    return board("tabario-comfyui", "Tabario ComfyUI", "Pictures and requests, as the jobs see them.", rows)


def _now() -> Sequence[Panel]:
    slowest = f"max({p95(m.IMAGE_GENERATION_SECONDS)}{{{JOB}}})"
    errors = f"max({COMFYUI_ERROR_RATIO}{{{JOB}}}) or {nothing_of(COMFYUI_CALLS)}"
    return (
        Figure("Picture, P95", "Over 15 minutes.", SECONDS, slowest, bad_from=m.SLOW_IMAGE_SECONDS),
        Figure("Failed requests", "Share over 15 minutes.", SHARE, errors, bad_from=0.1),
        Figure("Pictures made", "In the window.", NUMBER, grown(m.IMAGES_GENERATED)),
        Figure("Pictures failed", "In the window.", NUMBER, grown(m.IMAGE_GENERATION_FAILURES), bad_from=1),
        Figure(
            "Over 15 minutes",
            "Pictures of the window that took so long.",
            NUMBER,
            grown(m.IMAGE_GENERATION_SLOW),
            bad_from=1,
        ),
    )


def _pictures() -> Sequence[Panel]:
    return (
        Chart(
            "Pictures made, by workflow",
            "Checked and stored ones.",
            PER_MINUTE,
            (Query(per_minute(m.IMAGES_GENERATED, by="workflow"), "{{workflow}}"),),
        ),
        Chart(
            "Time of one picture, by workflow",
            "From submitting it until it is there or has failed, its wait in ComfyUI's queue included.",
            SECONDS,
            (
                Query(quantile(m.IMAGE_GENERATION_SECONDS, 0.5, by="workflow"), "{{workflow}} P50"),
                Query(quantile(m.IMAGE_GENERATION_SECONDS, 0.95, by="workflow"), "{{workflow}} P95"),
                Query(quantile(m.IMAGE_GENERATION_SECONDS, 0.99, by="workflow"), "{{workflow}} P99"),
            ),
        ),
        Chart(
            "Pictures failed, by reason",
            "Tries that failed; a repeated try may have succeeded.",
            PER_MINUTE,
            (Query(per_minute(m.IMAGE_GENERATION_FAILURES, by="reason"), "{{reason}}"),),
        ),
        Chart(
            "Time of all pictures of a job",
            "The whole image loop.",
            SECONDS,
            quantiles(m.TOTAL_IMAGES_GENERATION_SECONDS),
            width=12,
        ),
        Chart(
            "Pictures over 15 minutes",
            "Counted one by one, in the window before each moment.",
            NUMBER,
            (Query(grown(m.IMAGE_GENERATION_SLOW), "slow"),),
            width=12,
        ),
        Chart(
            "Servers busy",
            "How many executors were at work on average; a picture counts when it is done. The rest of them was idle.",
            NUMBER,
            (Query(f"sum(rate({series(m.COMFYUI_BUSY_SECONDS)}{WINDOW}))", "busy"),),
            width=12,
        ),
        Chart(
            "Scenes made anew",
            "Jobs accepted for it, in the window before each moment.",
            NUMBER,
            (Query(grown(m.SCENES_REGENERATED), "anew"),),
            width=12,
        ),
    )


def _requests() -> Sequence[Panel]:
    return (
        Chart(
            "Requests by endpoint",
            "Requests that ComfyUI answered.",
            PER_MINUTE,
            (Query(per_minute(m.COMFYUI_REQUESTS, by="endpoint"), "{{endpoint}}"),),
        ),
        Chart(
            "Time of a request, P95",
            "Until ComfyUI answered, by endpoint.",
            SECONDS,
            (Query(quantile(m.COMFYUI_REQUEST_SECONDS, 0.95, by="endpoint"), "{{endpoint}}"),),
        ),
        Chart(
            "Answers by status",
            "4xx: the request does not fit the server. 5xx: the server is in trouble.",
            PER_MINUTE,
            (Query(per_minute(m.COMFYUI_REQUESTS, by="status"), "{{status}}"),),
        ),
        Chart(
            "Requests without an answer",
            "Not connected, or no answer in time.",
            PER_MINUTE,
            (Query(per_minute(m.COMFYUI_REQUEST_ERRORS, by="reason"), "{{reason}}"),),
            width=12,
        ),
    )
