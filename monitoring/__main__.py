"""Runs the exporter: `python -m monitoring`."""

from __future__ import annotations

import uvicorn

from monitoring.exporter import create_exporter
from monitoring.server import create_server
from tabario.errors import ConfigurationError
from tabario.logs import configure_logging
from tabario.settings import MetricsScope, MetricsSettings, PrefectSettings, RedisSettings, SlotSettings
from tabario.settings_source import read_group


def main() -> None:
    """Serves until it gets SIGTERM or SIGINT. Exits with a sentence when a setting is wrong."""
    configure_logging()
    try:
        _serve()
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None


def _serve() -> None:
    metrics = read_group(MetricsSettings)
    if not metrics.enabled:
        raise ConfigurationError("Set ENABLE_METRICS=true to run the exporter.")
    exporter = create_exporter(
        redis=read_group(RedisSettings),
        prefect=read_group(PrefectSettings),
        slots=read_group(SlotSettings),
        metrics=metrics,
        scope=MetricsScope.ALL,
    )
    app = create_server(exporter)
    uvicorn.run(app, host=metrics.exporter_host, port=metrics.exporter_port, access_log=False, log_config=None)


if __name__ == "__main__":
    main()
