"""Metrics, alerts and traces."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl, SecretStr, field_validator
from pydantic_settings import NoDecode

from tabario.settings.core import group, parts
from tabario.settings_source import Group


class MetricsScope(StrEnum):
    """What the front door's own /metrics shows."""

    ALL = "all"
    PROCESS = "process"


class MetricsSettings(Group):
    """Metrics and the exporter."""

    model_config = group(env_prefix="")

    enabled: bool = Field(default=True, validation_alias="ENABLE_METRICS", description="false records nothing")
    scope: MetricsScope = Field(
        default=MetricsScope.ALL,
        validation_alias="METRICS_SCOPE",
        description="what the front door's /metrics shows: all, or process when there are replicas",
    )
    token: SecretStr | None = Field(
        default=None,
        validation_alias="TABARIO_METRICS_TOKEN",
        description="bearer token of the front door's /metrics; when absent they are closed, but for development",
    )
    exporter_host: str = Field(
        default="127.0.0.1", validation_alias="TABARIO_EXPORTER_HOST", description="address the exporter listens on"
    )
    exporter_port: int = Field(
        default=9108, ge=1, le=65535, validation_alias="TABARIO_EXPORTER_PORT", description="the exporter's port"
    )
    poll_seconds: float = Field(
        default=10, ge=1, le=15, validation_alias="TABARIO_EXPORTER_POLL_SECONDS", description="seconds between polls"
    )
    directory: Path = Field(
        default=Path(".tabario/metrics"),
        validation_alias="TABARIO_METRICS_DIRECTORY",
        description="directory for observations that could not be sent, and for the exporter's high-water mark",
    )
    multiprocess_directory: Path | None = Field(
        default=None,
        validation_alias="PROMETHEUS_MULTIPROC_DIR",
        description="directory that front doors of one host and address share; leave it unset everywhere else",
    )


class AlertSettings(Group):
    """When operators are told, and where. `python -m monitoring.rules` renders the rule files from these."""

    model_config = group(env_prefix="TABARIO_ALERT_")

    queue_depth: int = Field(default=50, ge=1, description="jobs that may wait for 10 minutes before an alert")
    failure_percent: float = Field(
        default=10, gt=0, lt=100, description="percentage of jobs that may fail over 15 minutes before an alert"
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="address that Alertmanager posts alerts to; else they stand on its own page only"
    )
    runbooks: str = Field(default="docs/runbooks", description="where the runbooks are found, for links in alerts")

    @field_validator("webhook_url")
    @classmethod
    def _an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("it begins with http:// or https://")
        return value


class ScrapeSettings(Group):
    """The addresses that Prometheus and Grafana use, each as host:port."""

    model_config = group(env_prefix="TABARIO_SCRAPE_")

    front_doors: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1:8000",), min_length=1, description="the front doors, separated by commas"
    )
    exporter: str = Field(default="127.0.0.1:9108", description="the exporter; read only when METRICS_SCOPE is process")
    credentials: Path | None = Field(
        default=None, description="file in which Prometheus finds TABARIO_METRICS_TOKEN, by its path there"
    )
    alertmanager: str = Field(default="127.0.0.1:9093", description="Alertmanager, for Prometheus")
    prometheus: str = Field(default="127.0.0.1:9090", description="Prometheus, for Grafana")

    @field_validator("front_doors", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return parts(value)


class TracingSettings(Group):
    """Traces, under OpenTelemetry's own names; they need the extra `otel`."""

    model_config = group(env_prefix="")

    endpoint: HttpUrl | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="address of an OTLP/HTTP receiver; without one there are no traces",
    )
