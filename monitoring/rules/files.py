"""The files that Prometheus, Alertmanager and Grafana read, rendered from the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from monitoring.rules.alerts import alerts
from monitoring.rules.pace import REAL_TIME, Pace
from monitoring.rules.recordings import recordings
from monitoring.rules.routing import alertmanager_document
from monitoring.rules.scraping import grafana_document, prometheus_document
from tabario.settings import AlertSettings, MetricsScope, ScrapeSettings

HEADER: Final = "# Rendered by `make rules` from monitoring/rules and the settings; edit those.\n"


def rendered(
    alert: AlertSettings, scrape: ScrapeSettings, scope: MetricsScope, pace: Pace = REAL_TIME
) -> dict[Path, str]:
    """Text by path below `monitoring/`."""
    documents: dict[str, Any] = {
        "prometheus/prometheus.yml": prometheus_document(scrape, scope, pace),
        "prometheus/rules/recordings.yml": _group("recordings", [rule.document() for rule in recordings(pace)]),
        "prometheus/rules/alerts.yml": _group(
            "alerts", [rule.document(runbooks=alert.runbooks) for rule in alerts(alert, pace)]
        ),
        "grafana/provisioning/datasources/prometheus.yml": grafana_document(scrape),
        "alertmanager/alertmanager.yml": alertmanager_document(alert, pace),
    }
    return {Path(path): HEADER + _yaml(document) for path, document in documents.items()}


def write(files: dict[Path, str], directory: Path) -> None:
    """Writes the files below a directory."""
    for path, text in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _group(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"groups": [{"name": f"tabario-{name}", "rules": rules}]}


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=1000)
