"""What a PromQL query names, and inside of which functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import promql_parser

from monitoring.rules.pace import REAL_TIME
from monitoring.rules.recordings import recordings
from tabario.metrics.definitions import ALL, RECORDED
from tabario.metrics.series import Histogram

FOREIGN: Final = frozenset({"up", "process_resident_memory_bytes", "process_cpu_seconds_total"})


@dataclass(frozen=True)
class Selector:
    """A series' name in a query, its label matchers, and the functions around it, outermost first."""

    name: str
    labels: frozenset[str]
    within: tuple[str, ...]


def selectors(query: str) -> list[Selector]:
    """Every selector of a query. Raises ValueError for what is no PromQL."""
    found: list[Selector] = []
    within: list[str] = []

    def enter(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.Call):
            within.append(node.func.name)
        if isinstance(node, promql_parser.VectorSelector):
            labels = frozenset(matcher.name for matcher in node.matchers.matchers)
            found.append(Selector(str(node.name), labels, tuple(within)))

    def leave(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.Call):
            within.pop()

    promql_parser.walk(promql_parser.parse(query), enter, leave)
    return found


def alternatives(query: str) -> list[str]:
    """The parts of a query between its outermost `or`s: any of them can give the answer."""
    tree = promql_parser.parse(query)
    if isinstance(tree, promql_parser.BinaryExpr) and str(tree.op) == "or":
        return [*alternatives(str(tree.lhs)), *alternatives(str(tree.rhs))]
    return [query]


def known_series() -> frozenset[str]:
    """Every name that a query may use."""
    gauges = {metric.name for metric in ALL if metric not in RECORDED}
    return FOREIGN | gauges | cumulative_series() | {rule.name for rule in recordings(REAL_TIME)}


def cumulative_series() -> frozenset[str]:
    """The names of series that only grow, so that their value alone says nothing."""
    parts = {f"{m.name}_{part}" for m in RECORDED if isinstance(m, Histogram) for part in ("bucket", "sum", "count")}
    return frozenset(parts | {m.name for m in RECORDED if not isinstance(m, Histogram)} | {"process_cpu_seconds_total"})
