"""Answers that alerts and dashboards share, so that both see the same number.

A name says what is left (`job` is Prometheus's label of a target), of what, and over which time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from monitoring.rules.pace import Pace
from monitoring.rules.rule import Recording
from tabario.metrics.definitions import (
    COMFYUI_REQUEST_ERRORS,
    COMFYUI_REQUESTS,
    IMAGE_GENERATION_SECONDS,
    JOB_TOTAL_SECONDS,
    JOBS_COMPLETED,
    JOBS_FAILED,
    VOICEOVER_GENERATION_SECONDS,
)
from tabario.metrics.series import Histogram

WINDOWS: Final = ("5m", "15m", "30m", "1h", "6h")
TIMED: Final = (VOICEOVER_GENERATION_SECONDS, IMAGE_GENERATION_SECONDS, JOB_TOTAL_SECONDS)


def p95(histogram: Histogram) -> str:
    """Name of the 95th percentile over 15 minutes."""
    return f"job:{histogram.name}:p95_15m"


def failed(window: str) -> str:
    """Name of the number of failed jobs."""
    return f"job:jobs_failed:increase{window}"


def ended(window: str) -> str:
    """Name of the number of jobs that failed or completed."""
    return f"job:jobs_ended:increase{window}"


def failure_ratio(window: str) -> str:
    """Name of the share of failed jobs among those that ended; no series while none has."""
    return f"job:jobs_failed:ratio{window}"


COMFYUI_CALLS: Final = "job:comfyui_requests:increase15m"
COMFYUI_ERROR_RATIO: Final = "job:comfyui_requests:error_ratio15m"


def recordings(pace: Pace) -> Sequence[Recording]:
    """All of them, each after those that it needs."""
    return tuple(_percentiles(pace)) + tuple(_outcomes(pace)) + tuple(_requests(pace))


def _percentiles(pace: Pace) -> Iterator[Recording]:
    window = pace.duration("15m")
    for histogram in TIMED:
        rates = f"sum by (job, le) (rate({histogram.name}_bucket[{window}]))"
        yield Recording(p95(histogram), f"histogram_quantile(0.95, {rates})")


def _outcomes(pace: Pace) -> Iterator[Recording]:
    for window in WINDOWS:
        span = pace.duration(window)
        yield Recording(failed(window), f"sum by (job) (increase({JOBS_FAILED.name}[{span}]))")
        completed = f"sum by (job) (increase({JOBS_COMPLETED.name}[{span}]))"
        yield Recording(ended(window), f"{failed(window)} + {completed}")
        yield Recording(failure_ratio(window), f"{failed(window)} / ({ended(window)} > 0)")


def _requests(pace: Pace) -> Iterator[Recording]:
    window = pace.duration("15m")
    answered = f"sum by (job) (increase({COMFYUI_REQUESTS.name}[{window}]))"
    refused = f'sum by (job) (increase({COMFYUI_REQUESTS.name}{{status!="2xx"}}[{window}]))'
    unanswered = f"sum by (job) (increase({COMFYUI_REQUEST_ERRORS.name}[{window}]))"
    yield Recording(COMFYUI_CALLS, f"{answered} + {unanswered}")
    yield Recording(COMFYUI_ERROR_RATIO, f"({refused} + {unanswered}) / ({COMFYUI_CALLS} > 0)")
