"""The shipped files in the eyes of Prometheus's and Alertmanager's own tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from monitoring.rules.files import rendered, write
from monitoring.rules.pace import Pace
from tabario.settings import AlertSettings, MetricsScope, ScrapeSettings
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
