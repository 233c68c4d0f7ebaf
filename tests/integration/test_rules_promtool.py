"""The shipped files in the eyes of Prometheus's and Alertmanager's own tools."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from monitoring.grafana.files import DIRECTORY
from monitoring.rules.files import rendered, write
from monitoring.rules.pace import Pace
from tabario.metrics.definitions import COMFYUI_REQUEST_ERRORS, COMFYUI_REQUESTS, JOBS_COMPLETED, JOBS_FAILED
from tabario.settings import AlertSettings, MetricsScope, ScrapeSettings
from tests.support.dashboards import at_a_moment, panels_of
from tests.support.tools import tool

MONITORING = Path(__file__).parents[2] / "monitoring"
RULE_TESTS = sorted((MONITORING / "prometheus" / "tests").glob("*.yml"))


@pytest.fixture
def promtool() -> str:
    return tool("promtool", package="prometheus")


@pytest.fixture
def amtool() -> str:
    return tool("amtool", package="prometheus-alertmanager")


def succeed(*command: str | Path) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=[path.stem for path in RULE_TESTS])
def test_the_rules_do_what_their_tests_say(promtool: str, path: Path) -> None:
    succeed(promtool, "test", "rules", path)


def figures() -> Iterator[tuple[str, str]]:
    """Title and query of every single number on the dashboards."""
    for path in sorted(DIRECTORY.glob("*.json")):
        for panel in panels_of(json.loads(path.read_text(encoding="utf-8"))):
            if panel["type"] == "stat":
                yield panel["title"], at_a_moment(panel["targets"][0]["expr"])


def test_figures_look_well_while_nothing_happens_and_show_nothing_without_metrics(
    promtool: str, tmp_path: Path
) -> None:
    quiet = {"Success": 1, "Failed, 15 minutes": 0, "Failed requests": 0, "Alerts firing": 0}
    shown = dict(figures())
    names = [
        name
        for metric in (JOBS_COMPLETED, JOBS_FAILED, COMFYUI_REQUESTS, COMFYUI_REQUEST_ERRORS)
        for labels in metric.label_sets()
        for name in [_series(metric.name, labels)]
    ]
    at = {"eval_time": "30m"}
    well = [
        {"expr": shown[title], **at, "exp_samples": [{"labels": "{}", "value": value}]}
        for title, value in quiet.items()
    ]
    blind = [{"expr": expr, **at, "exp_samples": []} for title, expr in figures() if title != "Alerts firing"]
    # Prometheus itself fires an alert when it finds no metrics.
    alarm = {"expr": shown["Alerts firing"], **at, "exp_samples": [{"labels": "{}", "value": 1}]}
    up = {"series": 'up{job="tabario"}', "values": "1+0x60"}
    cases = [
        {
            "interval": "30s",
            "input_series": [up, *({"series": name, "values": "0+0x60"} for name in names)],
            "promql_expr_test": well,
        },
        {"interval": "30s", "promql_expr_test": [*blind, alarm]},
    ]
    rules = [str(path) for path in sorted((MONITORING / "prometheus" / "rules").iterdir())]
    path = tmp_path / "figures.yml"
    path.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "30s", "tests": cases}))
    succeed(promtool, "test", "rules", path)


def _series(name: str, labels: dict[str, str]) -> str:
    told = ", ".join(f'{label}="{value}"' for label, value in {"job": "tabario", **labels}.items())
    return f"{name}{{{told}}}"


@pytest.mark.parametrize("scope", MetricsScope)
@pytest.mark.parametrize("faster", [1, 60])
def test_prometheus_accepts_its_files(promtool: str, tmp_path: Path, scope: MetricsScope, faster: int) -> None:
    write(rendered(AlertSettings(), ScrapeSettings(), scope, Pace(faster)), tmp_path)
    succeed(promtool, "check", "config", tmp_path / "prometheus" / "prometheus.yml")
    succeed(promtool, "check", "rules", *(tmp_path / "prometheus" / "rules").iterdir())


@pytest.mark.parametrize("faster", [1, 60])
def test_alertmanager_accepts_its_file(amtool: str, tmp_path: Path, faster: int) -> None:
    settings = AlertSettings.model_validate({"webhook_url": "http://127.0.0.1:9099/alerts"})
    write(rendered(settings, ScrapeSettings(), MetricsScope.ALL, Pace(faster)), tmp_path)
    succeed(amtool, "check-config", tmp_path / "alertmanager" / "alertmanager.yml")
