"""The business view: how much is made, for which tier, and whom we turn away."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.board import (
    BYTES,
    NUMBER,
    SECONDS,
    SHARE,
    Chart,
    Figure,
    Panel,
    Query,
    board,
    grown,
    quantile,
    series,
)
from tabario.metrics import definitions as m


def business() -> Dashboard:
    """The dashboard. A tier's jobs are counted by their work queue, which bears the tier's name."""
    rows = {"In the window": _totals(), "By tier": _tiers(), "Production": _production()}
    return board(
        "tabario-business", "Tabario business", "How much is made, for which tier, and who is turned away.", rows
    )


def _totals() -> Sequence[Panel]:
    ended = f"({grown(m.JOBS_COMPLETED)} + {grown(m.JOBS_FAILED)})"
    success = f"{grown(m.JOBS_COMPLETED)} / ({ended} > 0) or {ended} == bool 0"  # 1 while none has ended
    return (
        Figure("Jobs accepted", "In the window.", NUMBER, grown(m.JOBS_ENQUEUED)),
        Figure("Films made", "In the window.", NUMBER, grown(m.JOBS_COMPLETED)),
        Figure("Success", "Films among the jobs that ended, cancelled ones left out.", SHARE, success, good_from=0.95),
        Figure("Length of films", "Of all films made in the window.", SECONDS, grown(m.VIDEO_SECONDS_PRODUCED)),
        Figure("Pictures made", "In the window.", NUMBER, grown(m.IMAGES_GENERATED)),
        Figure("Jobs cancelled", "By their owners, in the window.", NUMBER, grown(m.JOBS_CANCELLED)),
    )


def _tiers() -> Sequence[Panel]:
    started = grown(m.QUEUE_WAIT_SECONDS, by="work_queue", suffix="_count")
    refused = f"sum by (tier, reason) (increase({series(m.SUBMISSIONS_REJECTED)}[$window]))"
    return (
        Chart("Jobs begun", "In the window before each moment.", NUMBER, (Query(started, "{{work_queue}}"),)),
        Chart(
            "Wait, median and P95",
            "From acceptance until a worker began: what a premium user pays to shorten.",
            SECONDS,
            (
                Query(quantile(m.QUEUE_WAIT_SECONDS, 0.5, by="work_queue"), "{{work_queue}} P50"),
                Query(quantile(m.QUEUE_WAIT_SECONDS, 0.95, by="work_queue"), "{{work_queue}} P95"),
            ),
        ),
        Chart(
            "Jobs waiting now",
            "Flow runs that no worker has taken.",
            NUMBER,
            (Query(f"sum by (work_queue) ({series(m.WAITING_RUNS)})", "{{work_queue}}"),),
        ),
        Chart(
            "Slots in use",
            "Jobs that users have in work or waiting.",
            NUMBER,
            (Query(f"sum by (tier) ({series(m.SLOTS_IN_USE)})", "{{tier}}"),),
        ),
        Chart(
            "Submissions turned away",
            "All slots taken: a reason to buy a higher tier. Unavailable: our fault.",
            NUMBER,
            (Query(refused, "{{tier}}, {{reason}}"),),
        ),
        Chart(
            "Slots of one user",
            "What a tier includes.",
            NUMBER,
            (Query(f"max by (tier) ({series(m.SLOTS_LIMIT)})", "{{tier}}"),),
        ),
    )


def _production() -> Sequence[Panel]:
    return (
        Chart(
            "Jobs accepted, made, failed, cancelled",
            "In the window before each moment.",
            NUMBER,
            (
                Query(grown(m.JOBS_ENQUEUED), "accepted"),
                Query(grown(m.JOBS_COMPLETED), "made"),
                Query(grown(m.JOBS_FAILED), "failed"),
                Query(grown(m.JOBS_CANCELLED), "cancelled"),
            ),
            width=12,
        ),
        Chart(
            "Length of films made",
            "In the window before each moment.",
            SECONDS,
            (Query(grown(m.VIDEO_SECONDS_PRODUCED), "films"),),
            width=12,
        ),
        Chart(
            "GPU time",
            "That ComfyUI worked for jobs, as their receipts have it: what pictures cost.",
            SECONDS,
            (Query(grown(m.GPU_SECONDS, by="tier"), "{{tier}}"),),
        ),
        Chart(
            "Pictures painted",
            "For jobs that ended; adopted pictures cost nothing and are left out.",
            NUMBER,
            (Query(grown(m.PICTURES_PAINTED, by="tier"), "{{tier}}"),),
        ),
        Chart(
            "Characters spoken",
            "What a voice service charges for.",
            NUMBER,
            (Query(grown(m.CHARACTERS_SPOKEN, by="tier"), "{{tier}}"),),
        ),
        Chart(
            "Films stored",
            "Bytes of the films of jobs that ended.",
            BYTES,
            (Query(grown(m.BYTES_STORED, by="tier"), "{{tier}}"),),
            width=12,
        ),
        Chart(
            "Time in each stage",
            "Of jobs that ended, over all tries.",
            SECONDS,
            (Query(grown(m.STAGE_SECONDS, by="stage"), "{{stage}}"),),
            width=12,
        ),
    )
