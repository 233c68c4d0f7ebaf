"""Reading a dashboard's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Every panel but the rows' titles."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets_of(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every query of every panel."""
    for panel in panels_of(dashboard):
        yield from panel["targets"]


def at_a_moment(expr: str, *, job: str = "tabario", window: str = "15m", rate_interval: str = "1m") -> str:
    """A query as Grafana sends it, with the variables filled in."""
    return expr.replace("$__rate_interval", rate_interval).replace("$window", window).replace("$job", job)
