"""Where Prometheus reads, and to whom it tells its alerts.

Exactly one target shows everything: a second one would double every sum. With `METRICS_SCOPE=all` that is the front
door; with `process` it is the exporter, and each front door shows its own process only. A front door wants a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from monitoring.rules.pace import Pace
from tabario.settings import MetricsScope, ScrapeSettings

WHOLE_JOB: Final = "tabario"
PROCESS_JOB: Final = "front-door"


def prometheus_document(settings: ScrapeSettings, scope: MetricsScope, pace: Pace) -> dict[str, Any]:
    """The content of prometheus.yml."""
    interval = pace.duration("10s")
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": pace.duration("15s"),
        },
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [settings.alertmanager]}]}]},
        "scrape_configs": _scrape_configs(settings, scope),
    }


def grafana_document(settings: ScrapeSettings) -> dict[str, Any]:
    """The content of Grafana's provisioning file for its data source."""
    source = {"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "access": "proxy", "isDefault": True}
    return {"apiVersion": 1, "datasources": [{**source, "url": f"http://{settings.prometheus}"}]}


def _scrape_configs(settings: ScrapeSettings, scope: MetricsScope) -> list[dict[str, Any]]:
    if scope is MetricsScope.ALL:
        return [_scrape_config(WHOLE_JOB, settings.front_doors[:1], settings.credentials)]
    doors = _scrape_config(PROCESS_JOB, settings.front_doors, settings.credentials)
    return [_scrape_config(WHOLE_JOB, [settings.exporter]), doors]


def _scrape_config(job: str, targets: Sequence[str], credentials: Path | None = None) -> dict[str, Any]:
    token = {"authorization": {"type": "Bearer", "credentials_file": str(credentials)}} if credentials else {}
    return {"job_name": job, **token, "static_configs": [{"targets": list(targets)}]}
