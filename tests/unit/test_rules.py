"""The rule files: shipped as rendered, complete, and about metrics that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.rules.alerts import alerts
from monitoring.rules.files import rendered
from monitoring.rules.pace import REAL_TIME, Pace
from monitoring.rules.recordings import recordings
from monitoring.rules.routing import ECHOES
from monitoring.rules.rule import Alert, Recording
from tabario.errors import ConfigurationError
from tabario.settings import AlertSettings, MetricsScope, ScrapeSettings
from tabario.settings_source import read_group
from tests.support.promql import cumulative_series, known_series, selectors

ROOT = Path(__file__).parents[2]
MONITORING, RUNBOOKS = ROOT / "monitoring", ROOT / "docs" / "runbooks"
ALERTS = alerts(AlertSettings(), REAL_TIME)
GROWTH = {"rate", "increase"}


def rendered_text(path: str, *, scope: MetricsScope = MetricsScope.ALL, faster: int = 1, **alert: Any) -> str:  # noqa: ANN401 - any setting
    files = rendered(AlertSettings(**alert), ScrapeSettings(), scope, Pace(faster))
    return files[Path(path)]


def whole_targets(scope: MetricsScope) -> tuple[list[str], list[str]]:
    """The targets that show everything, and those that show their own process only."""
    jobs = yaml.safe_load(rendered_text("prometheus/prometheus.yml", scope=scope))["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    return targets.pop("tabario"), [target for others in targets.values() for target in others]


def test_the_shipped_files_are_what_the_default_settings_render() -> None:
    files = rendered(AlertSettings(), ScrapeSettings(), MetricsScope.ALL)
    shipped = {path: (MONITORING / path).read_text(encoding="utf-8") for path in files}
    assert shipped == files, "run `make rules`"
    assert {path.name for path in (MONITORING / "prometheus" / "rules").iterdir()} == {"alerts.yml", "recordings.yml"}


def test_the_limits_of_depth_and_failures_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABARIO_ALERT_QUEUE_DEPTH", "7")
    monkeypatch.setenv("TABARIO_ALERT_FAILURE_PERCENT", "2.5")
    rules = {alert.name: alert for alert in alerts(read_group(AlertSettings), REAL_TIME)}
    assert rules["QueueDepthHigh"].expr.endswith("> 7")
    assert "More than 7 jobs" in rules["QueueDepthHigh"].summary
    assert "> 0.025 and" in rules["JobFailureRateHigh"].expr
    assert "More than 2.5 %" in rules["JobFailureRateHigh"].summary


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TABARIO_ALERT_QUEUE_DEPTH", "0"),
        ("TABARIO_ALERT_FAILURE_PERCENT", "100"),
        ("TABARIO_ALERT_WEBHOOK_URL", "pager.example"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"Set {variable} "):
        read_group(AlertSettings)


def test_prometheus_reads_exactly_one_target_that_shows_everything() -> None:
    assert whole_targets(MetricsScope.ALL) == (["127.0.0.1:8000"], [])
    assert whole_targets(MetricsScope.PROCESS) == (["127.0.0.1:9108"], ["127.0.0.1:8000"])


def test_two_front_doors_that_both_show_everything_are_not_both_read() -> None:
    two = ScrapeSettings(front_doors=("one:8000", "two:8000"))
    text = rendered(AlertSettings(), two, MetricsScope.ALL)[Path("prometheus/prometheus.yml")]
    assert "one:8000" in text
    assert "two:8000" not in text


def test_a_faster_pace_divides_every_duration_and_nothing_else() -> None:
    seconds = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

    def durations(text: str) -> list[float]:
        found = re.findall(r"(?:\[|(?:for|interval|timeout|wait): )(\d+)(ms|s|m|h)\b", text)
        return [int(number) * seconds[unit] for number, unit in found]

    def names(text: str) -> list[str]:
        return re.findall(r"(?:record|alert): (\S+)$", text, re.MULTILINE)

    timed = [
        path for path in rendered(AlertSettings(), ScrapeSettings(), MetricsScope.ALL) if "grafana" not in path.parts
    ]
    for path in timed:
        slow, fast = rendered_text(str(path)), rendered_text(str(path), faster=60)
        assert durations(slow)
        assert durations(fast) == pytest.approx([duration / 60 for duration in durations(slow)], abs=0.001)
        assert names(fast) == names(slow)


def test_an_unknown_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="'1 week' is no duration"):
        REAL_TIME.duration("1 week")


def test_every_query_names_series_that_exist() -> None:
    queries = [rule.expr for rule in recordings(REAL_TIME)] + [alert.expr for alert in ALERTS]
    named = {selector.name for query in queries for selector in selectors(query)}
    assert named - known_series() == set()


def test_what_only_grows_is_read_by_its_growth() -> None:
    rules: list[Recording | Alert] = [*recordings(REAL_TIME), *ALERTS]
    for rule in rules:
        for selector in selectors(rule.expr):
            assert selector.name not in cumulative_series() or GROWTH & set(selector.within), rule.name


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for rule in yaml.safe_load(rendered_text("prometheus/rules/alerts.yml"))["groups"][0]["rules"]:
        assert rule["labels"].keys() == {"severity", "service"}
        assert not [value for value in rule["labels"].values() if "{{" in value]
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["description"].endswith(".")


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert {page.name for page in RUNBOOKS.iterdir()} == {alert.page for alert in ALERTS}
    for alert in ALERTS:
        text = (RUNBOOKS / alert.page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert headings == [alert.name, "What it means", "How to see it", "What to do"]


def test_runbooks_name_metrics_settings_and_pages_that_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(RUNBOOKS.iterdir()))
    named = {
        name.split("{")[0] for name in re.findall(r"`((?:job:|video_orchestrator_)[a-z0-9_:]+(?:\{.*?\})?)`", text)
    }
    histograms = {name.rsplit("_bucket", 1)[0] for name in known_series()}
    assert named - known_series() - histograms == set()
    variables = set(re.findall(r"`((?:TABARIO|METRICS)_[A-Z_]+)`", text))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert {variable for variable in variables if f"{variable}=" not in example} == set()
    assert {link for link in re.findall(r"\]\(([^)]+)\)", text) if not (RUNBOOKS / link).exists()} == set()


def test_alerts_that_silence_others_exist() -> None:
    names = {alert.name for alert in ALERTS}
    assert {name for cause, echoes in ECHOES.items() for name in (cause, *echoes)} <= names


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    fired: set[str] = set()
    silent: set[str] = set()
    for path in (MONITORING / "prometheus" / "tests").iterdir():
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for check in case["alert_rule_test"]:
                (fired if check["exp_alerts"] else silent).add(check["alertname"])
    assert fired == silent == {alert.name for alert in ALERTS}


def test_without_an_address_nobody_is_posted_to_and_with_one_everybody_is() -> None:
    path = "alertmanager/alertmanager.yml"
    assert yaml.safe_load(rendered_text(path))["receivers"] == [{"name": "operators"}]
    (receiver,) = yaml.safe_load(rendered_text(path, webhook_url="https://pager.example/hook"))["receivers"]
    assert receiver["webhook_configs"] == [{"url": "https://pager.example/hook", "send_resolved": True}]
