"""`python -m monitoring.grafana`: renders the dashboards' JSON."""

from __future__ import annotations

import sys

from monitoring.grafana.files import write
from tabario.errors import ConfigurationError
from tabario.settings import AlertSettings
from tabario.settings_source import read_group

if __name__ == "__main__":
    try:
        write(read_group(AlertSettings))
    except ConfigurationError as error:
        sys.exit(str(error))
