"""Reading what the exporter shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Exposition:
    """Families by name, and the value of each sample."""

    families: Mapping[str, Family]

    @classmethod
    def parse(cls, text: str) -> Exposition:
        return cls.of(text_string_to_metric_families(text))

    @classmethod
    def parse_openmetrics(cls, text: str) -> Exposition:
        return cls.of(openmetrics_families(text))  # type: ignore[no-untyped-call]  # the library left its types out here

    @classmethod
    def of(cls, families: Iterable[Family]) -> Exposition:
        found = list(families)
        assert len({family.name for family in found}) == len(found), "a family is shown twice"
        return cls({family.name: family for family in found})

    def value(self, sample_name: str, **labels: str) -> float | None:
        """The sample's value, None when it is not shown."""
        values = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == sample_name and sample.labels == labels
        ]
        assert len(values) <= 1, f"{sample_name} is shown {len(values)} times"
        return values[0] if values else None

    def names(self) -> set[str]:
        """Names of the metrics as their definitions have them."""
        return {f"{name}_total" if family.type == "counter" else name for name, family in self.families.items()}
