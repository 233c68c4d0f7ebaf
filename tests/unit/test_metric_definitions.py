"""The metric definitions against the specification's table, copied here."""

from __future__ import annotations

import json
import math
import re

import pytest

from tabario.metrics import definitions
from tabario.metrics.definitions import ALL, COMFYUI_REQUESTS, IMAGE_GENERATION_SECONDS, JOBS_FAILED, RECORDED
from tabario.metrics.series import Counter, Gauge, Histogram, Metric
from tabario.styles import STYLES

WORKFLOWS = tuple(sorted({style.workflow for style in STYLES.values()}))
ENDPOINTS = ("/prompt", "/history", "/view", "/queue", "/upload/image", "/interrupt")
JOB_BUCKETS = (10, 30, 60, 120, 300, 600, 1200, 3600)

SPECIFICATION: dict[str, tuple[type[Metric], dict[str, tuple[str, ...]], tuple[float, ...]]] = {
    "voiceover_generation_seconds": (Histogram, {}, (1, 2, 5, 10, 20, 40, 60, 120)),
    "voiceover_failures_total": (Counter, {"reason": ("timeout", "error")}, ()),
    "image_generation_seconds": (
        Histogram,
        {"step": ("text2image",), "workflow": WORKFLOWS},
        (10, 20, 40, 60, 120, 300, 600, 1200),
    ),
    "image_generation_failures_total": (Counter, {"reason": ("timeout", "error")}, ()),
    "total_images_generation_seconds": (Histogram, {}, JOB_BUCKETS),
    "images_generated_total": (Counter, {"workflow": WORKFLOWS}, ()),
    "queue_depth": (Gauge, {}, ()),
    "jobs_enqueued_total": (Counter, {}, ()),
    "jobs_started_total": (Counter, {}, ()),
    "jobs_completed_total": (Counter, {}, ()),
    "jobs_failed_total": (Counter, {"reason": ("timeout", "error", "crashed")}, ()),
    "job_total_seconds": (Histogram, {}, JOB_BUCKETS),
    "worker_active": (Gauge, {}, ()),
    "comfyui_requests_total": (Counter, {"endpoint": ENDPOINTS, "status": ("2xx", "4xx", "5xx")}, ()),
    "comfyui_request_seconds": (Histogram, {"endpoint": ENDPOINTS}, (0.1, 0.5, 1, 2, 5, 10, 30, 60)),
    "redis_errors_total": (Counter, {}, ()),
}
FORBIDDEN_LABELS = {"run_id", "job_id", "user_id", "flow_run_id", "file", "filename", "error", "message"}


def shape(metric: Metric) -> tuple[type[Metric], dict[str, tuple[str, ...]], tuple[float, ...]]:
    buckets = metric.buckets if isinstance(metric, Histogram) else ()
    return type(metric), {label.name: label.values for label in metric.labels}, tuple(buckets)


def test_the_specified_metrics_have_their_names_types_labels_and_buckets() -> None:
    found = {metric.name: shape(metric) for metric in ALL if not metric.name.startswith("video_orchestrator_")}
    assert found == SPECIFICATION


def test_no_name_is_used_twice() -> None:
    names = [metric.name for metric in ALL]
    assert len(set(names)) == len(names)


def test_names_and_help_follow_the_conventions() -> None:
    for metric in ALL:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
        assert metric.name.endswith("_total") == isinstance(metric, Counter)
        assert metric.help.endswith(".")


def test_no_label_is_forbidden_or_open_ended() -> None:
    for metric in ALL:
        for label in metric.labels:
            assert label.name not in FORBIDDEN_LABELS
            assert 0 < len(label.values) <= 50
            assert label.fallback is None or label.fallback in label.values
        assert len(list(metric.label_sets())) <= 50


def test_an_increment_adds_to_the_field_of_its_series() -> None:
    assert JOBS_FAILED.increment(reason="timeout").deltas == (('["jobs_failed_total",{"reason":"timeout"}]', 1),)


def test_a_reason_that_is_not_listed_becomes_the_fallback() -> None:
    assert JOBS_FAILED.increment(reason="disk full at 12:03") == JOBS_FAILED.increment(reason="error")


@pytest.mark.parametrize("labels", [{}, {"endpoint": "/prompt"}, {"endpoint": "/prompt", "status": "2xx", "id": "1"}])
def test_missing_and_additional_labels_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="takes endpoint, status"):
        COMFYUI_REQUESTS.increment(**labels)


def test_an_unknown_endpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="has no value '/system_stats'"):
        COMFYUI_REQUESTS.increment(endpoint="/system_stats", status="2xx")


@pytest.mark.parametrize(
    ("seconds", "edge"),
    [(0, "10.0"), (10, "10.0"), (10.001, "20.0"), (1200, "1200.0"), (5000, "+Inf"), (-3, "10.0")],
)
def test_a_value_falls_into_the_bucket_whose_upper_edge_includes_it(seconds: float, edge: str) -> None:
    (bucket, amount), (total, added) = IMAGE_GENERATION_SECONDS.observe(
        seconds, step="text2image", workflow=WORKFLOWS[0]
    ).deltas
    assert json.loads(bucket) == [
        "image_generation_seconds_bucket",
        {"le": edge, "step": "text2image", "workflow": WORKFLOWS[0]},
    ]
    assert json.loads(total)[0] == "image_generation_seconds_sum"
    assert (amount, added) == (1, max(0, seconds))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_would_spoil_a_sum_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot observe"):
        definitions.JOB_TOTAL_SECONDS.observe(value)
    with pytest.raises(ValueError, match="cannot grow"):
        definitions.VIDEO_SECONDS_PRODUCED.increment(value)


def test_a_counter_cannot_shrink() -> None:
    with pytest.raises(ValueError, match="cannot grow by -1"):
        definitions.JOBS_STARTED.increment(-1)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, "2xx"), (302, "4xx"), (304, "4xx"), (404, "4xx"), (499, "4xx"), (500, "5xx"), (999, "5xx")],
)
def test_http_statuses_become_three_classes(status: int, expected: str) -> None:
    assert definitions.status_class(status) == expected


def test_gauges_are_not_recorded() -> None:
    assert {type(metric) for metric in RECORDED} == {Counter, Histogram}
