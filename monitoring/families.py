"""Turns totals and present states into the metric families that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from tabario.metrics.definitions import RECORDED
from tabario.metrics.series import Counter, Gauge, Histogram, Metric, field_of

LabelValues = TypeVar("LabelValues", bound=tuple[str, ...])


def recorded_families(totals: Mapping[str, float]) -> Iterator[Family]:
    """Every recorded metric with every label set it knows; what was never counted is 0.

    Without the zeros a counter would be born at 1, and `increase()` would miss the first event.
    """
    for metric in RECORDED:
        match metric:
            case Counter():
                yield _counter(metric, totals)
            case Histogram():
                yield _histogram(metric, totals)


def gauge_family(gauge: Gauge, reading: Mapping[LabelValues, float]) -> Family:
    """A gauge with the values that were read, by label values in the order of the gauge's labels.

    Raises ValueError for an unknown label value.
    """
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=_label_names(gauge))
    for values, number in reading.items():
        family.add_metric([label.accept(value) for label, value in zip(gauge.labels, values, strict=True)], number)
    return family


def _counter(metric: Counter, totals: Mapping[str, float]) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=_label_names(metric))
    for labels in metric.label_sets():
        family.add_metric(list(labels.values()), totals.get(field_of(metric.name, labels), 0.0))
    return family


def _histogram(metric: Histogram, totals: Mapping[str, float]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=_label_names(metric))
    for labels in metric.label_sets():
        counts = (totals.get(field_of(f"{metric.name}_bucket", {**labels, "le": edge}), 0.0) for edge in metric.edges)
        family.add_metric(
            list(labels.values()),
            buckets=list(zip(metric.edges, accumulate(counts), strict=True)),
            sum_value=totals.get(field_of(f"{metric.name}_sum", labels), 0.0),
        )
    return family


def _label_names(metric: Metric) -> list[str]:
    return [label.name for label in metric.labels]
