"""Where Prometheus reads, and what it shows there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitoring.rules.pace import REAL_TIME
from monitoring.rules.scraping import PROCESS_JOB, WHOLE_JOB, prometheus_document
from tabario.settings import MetricsScope, ScrapeSettings
from tests.support.composition import read_compose
from tests.unit.test_composition import VARIABLES


def jobs(settings: ScrapeSettings, scope: MetricsScope) -> dict[str, Any]:
    document = prometheus_document(settings, scope, REAL_TIME)
    return {config["job_name"]: config.get("authorization") for config in document["scrape_configs"]}


@pytest.mark.parametrize("scope", MetricsScope)
def test_without_credentials_nothing_is_shown_to_anybody(scope: MetricsScope) -> None:
    assert set(jobs(ScrapeSettings(), scope).values()) == {None}


def test_the_token_is_shown_to_front_doors_alone() -> None:
    settings = ScrapeSettings(credentials=Path("/run/secrets/metrics_token"))
    token = {"type": "Bearer", "credentials_file": "/run/secrets/metrics_token"}
    assert jobs(settings, MetricsScope.ALL) == {WHOLE_JOB: token}
    assert jobs(settings, MetricsScope.PROCESS) == {WHOLE_JOB: None, PROCESS_JOB: token}


def test_prometheus_of_the_compose_file_has_the_front_doors_token() -> None:
    services = read_compose(VARIABLES)["services"]
    path = services["rules"]["environment"]["TABARIO_SCRAPE_CREDENTIALS"]
    assert services["front-door"]["environment"]["TABARIO_METRICS_TOKEN_FILE"] == path
    for name in ("front-door", "prometheus"):
        assert path.removeprefix("/run/secrets/") in services[name]["secrets"]
