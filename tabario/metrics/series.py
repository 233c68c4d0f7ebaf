"""The kinds of metric: what each is called, which labels it may carry, and how an observation becomes increments.

An observation is nothing but amounts to add to fields of one Redis hash. A field names one series in JSON:
`["jobs_failed_total",{"reason":"timeout"}]`. A histogram adds to two fields: the one bucket that the value falls into
(`le` in the labels, not cumulative; the exporter sums the buckets up) and the sum.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from prometheus_client.utils import floatToGoString

Labels = Mapping[str, str]


def _go_float(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]  # the library left its types out here


@dataclass(frozen=True)
class Label:
    """A label and every value that it may have; `fallback` is recorded for a value that is not listed."""

    name: str
    values: tuple[str, ...]
    fallback: str | None = None

    def accept(self, value: str) -> str:
        """The value to record. Raises ValueError for one that is neither listed nor has a fallback."""
        if value in self.values:
            return value
        if self.fallback is None:
            raise ValueError(f"label {self.name} has no value {value!r}; it is one of {', '.join(self.values)}")
        return self.fallback


@dataclass(frozen=True)
class Observation:
    """Amounts to add, by field."""

    deltas: tuple[tuple[str, float], ...]


def field_of(sample: str, labels: Labels) -> str:
    """Name of the hash field of one series."""
    return json.dumps([sample, dict(sorted(labels.items()))], separators=(",", ":"))


@dataclass(frozen=True)
class Metric:
    """What all kinds of metric have."""

    name: str
    help: str
    labels: tuple[Label, ...] = field(default=(), kw_only=True)

    def label_sets(self) -> Iterator[dict[str, str]]:
        """Every combination of label values."""
        names = [label.name for label in self.labels]
        for values in product(*(label.values for label in self.labels)):
            yield dict(zip(names, values, strict=True))

    def accept(self, labels: Labels) -> dict[str, str]:
        """The label values to record. Raises ValueError for a missing or unknown label."""
        if labels.keys() != {label.name for label in self.labels}:
            expected = ", ".join(label.name for label in self.labels) or "no labels"
            raise ValueError(f"{self.name} takes {expected}, not {', '.join(labels) or 'none'}")
        return {label.name: label.accept(labels[label.name]) for label in self.labels}


@dataclass(frozen=True)
class Counter(Metric):
    """Counts events; recorded by any process."""

    def increment(self, amount: float = 1, /, **labels: str) -> Observation:
        """Adds `amount`, which is not negative."""
        if not (math.isfinite(amount) and amount >= 0):
            raise ValueError(f"{self.name} cannot grow by {amount}")
        return Observation(((field_of(self.name, self.accept(labels)), amount),))


@dataclass(frozen=True)
class Histogram(Metric):
    """Sorts values into buckets; recorded by any process. `buckets` are upper edges without infinity."""

    buckets: tuple[float, ...] = field(kw_only=True)

    def observe(self, value: float, /, **labels: str) -> Observation:
        """Counts one value. A negative one, which two hosts' clocks can make, counts as zero."""
        if not math.isfinite(value):
            raise ValueError(f"{self.name} cannot observe {value}")
        accepted, shown = self.accept(labels), max(0.0, value)
        return Observation(
            (
                (field_of(f"{self.name}_bucket", {**accepted, "le": self.edge_of(shown)}), 1),
                (field_of(f"{self.name}_sum", accepted), shown),
            )
        )

    @property
    def edges(self) -> tuple[str, ...]:
        """Upper edges as Prometheus writes them, infinity included."""
        return tuple(_go_float(edge) for edge in (*self.buckets, math.inf))

    def edge_of(self, value: float) -> str:
        """Upper edge of the bucket that a value falls into."""
        return self.edges[bisect_left(self.buckets, value)]


@dataclass(frozen=True)
class Gauge(Metric):
    """A present state, read by the exporter."""
