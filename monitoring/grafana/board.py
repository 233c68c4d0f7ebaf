"""What all dashboards have in common: variables, panels, and how queries are written.

Every query takes the variables `datasource` and `job`. Jobs are few, so percentiles are taken over `window`, which the
viewer chooses, rather than over the moment between two scrapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import DataSourceRef, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)

from monitoring.rules.rule import SERVICE
from tabario.metrics.series import Histogram, Metric

JOB: Final = 'job=~"$job"'
WINDOW: Final = "[$window]"
RATE: Final = "[$__rate_interval]"
QUANTILES: Final = {"P50": 0.5, "P95": 0.95, "P99": 0.99}

SECONDS: Final = "s"
NUMBER: Final = "short"
SHARE: Final = "percentunit"
PER_MINUTE: Final = "suffix: / min"
BYTES: Final = "bytes"

_DATASOURCE: Final = DataSourceRef("prometheus", "${datasource}")
_HEIGHT: Final = 8
_STAT_HEIGHT: Final = 4


@dataclass(frozen=True)
class Query:
    """One line, or group of lines, of a panel. `legend` may hold Grafana's templates."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Chart:
    """Lines over time. `width` is in the 24 columns of the page."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    width: int = 8


@dataclass(frozen=True)
class Figure:
    """One number as it is now: red from `bad_from`, or green from `good_from`."""

    title: str
    description: str
    unit: str
    expr: str
    bad_from: float | None = None
    good_from: float | None = None


Panel = Chart | Figure


def series(metric: Metric, *, suffix: str = "", **labels: str) -> str:
    """A selector of a metric's series; `labels` must be equal."""
    matchers = ", ".join([JOB, *(f'{name}="{value}"' for name, value in labels.items())])
    return f"{metric.name}{suffix}{{{matchers}}}"


def per_minute(metric: Metric, *, by: str = "") -> str:
    """How much a counter grows in a minute."""
    return f"sum{_by(by)} (rate({series(metric)}{RATE})) * 60"


def grown(metric: Metric, *, by: str = "", suffix: str = "") -> str:
    """How much a counter grew in the window."""
    return f"sum{_by(by)} (increase({series(metric, suffix=suffix)}{WINDOW}))"


def nothing_of(recording: str) -> str:
    """0 while the rule's series is there, for a figure that has no series when nothing happened.

    A mere `vector(0)` would look just as well without any metrics at all.
    """
    return f"0 * sum({recording}{{{JOB}}})"


def quantile(histogram: Histogram, share: float, *, by: str = "") -> str:
    """A percentile over the window."""
    grouped = f"le, {by}" if by else "le"
    rates = f"sum by ({grouped}) (rate({series(histogram, suffix='_bucket')}{WINDOW}))"
    return f"histogram_quantile({share:g}, {rates})"


def quantiles(histogram: Histogram) -> tuple[Query, ...]:
    """The three percentiles that are asked for."""
    return tuple(Query(quantile(histogram, share), name) for name, share in QUANTILES.items())


def _by(label: str) -> str:
    return f" by ({label})" if label else ""


def board(uid: str, title: str, description: str, rows: Mapping[str, Sequence[Panel]]) -> Dashboard:
    """A dashboard of titled rows."""
    ids = count(1)
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([SERVICE])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .with_variable(_datasource())
        .with_variable(_job())
        .with_variable(_window())
    )
    for row, panels in rows.items():
        built = built.with_row(dashboard.Row(row).id(next(ids)))
        for panel in panels:
            built = built.with_panel(
                _figure(panel, next(ids)) if isinstance(panel, Figure) else _chart(panel, next(ids))
            )
    return built.build()


def _datasource() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _job() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("job")
        .label("Job")
        .datasource(_DATASOURCE)
        .query("label_values(jobs_enqueued_total, job)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".+")
        .multi(True)
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _window() -> dashboard.CustomVariable:
    return (
        dashboard.CustomVariable("window")
        .label("Window")
        .values("5m,15m,1h,6h,1d")
        .current(VariableOption(selected=True, text="15m", value="15m"))
    )


def _chart(chart: Chart, panel_id: int) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    panel = timeseries.Panel().id(panel_id).title(chart.title).description(chart.description).unit(chart.unit)
    panel = panel.datasource(_DATASOURCE).min(0).span(chart.width).height(_HEIGHT).legend(legend)
    for position, query in enumerate(chart.queries):
        panel = panel.with_target(_target(query, chr(ord("A") + position)))
    return panel


def _figure(figure: Figure, panel_id: int) -> stat.Panel:
    if figure.bad_from is not None:
        colours = [("green", None), ("red", figure.bad_from)]
    elif figure.good_from is not None:
        colours = [("red", None), ("green", figure.good_from)]
    else:
        colours = [("blue", None)]
    steps = [Threshold(value=value, color=colour) for colour, value in colours]
    panel = stat.Panel().id(panel_id).title(figure.title).description(figure.description).unit(figure.unit)
    return (
        panel.datasource(_DATASOURCE)
        .span(4)
        .height(_STAT_HEIGHT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_target(Query(figure.expr, figure.title), "A"))
    )


def _target(query: Query, ref_id: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id).datasource(_DATASOURCE)
