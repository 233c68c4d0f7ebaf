"""`python -m monitoring.rules`: renders what Prometheus and Alertmanager read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from monitoring.rules.files import rendered, write
from monitoring.rules.pace import Pace
from tabario.errors import ConfigurationError
from tabario.settings import AlertSettings, MetricsSettings, ScrapeSettings
from tabario.settings_source import read_group

SHIPPED: Final = Path(__file__).parents[1]


def main() -> None:
    """Exits with a sentence when a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.rules", description=__doc__)
    parser.add_argument("--directory", type=Path, default=SHIPPED, help="where to; the shipped files when absent")
    parser.add_argument("--faster", type=int, default=1, metavar="N", help="divide every duration by N, to watch")
    options = parser.parse_args()
    if options.faster < 1:
        parser.error("--faster takes 1 or more")
    try:
        scope = read_group(MetricsSettings).scope
        files = rendered(read_group(AlertSettings), read_group(ScrapeSettings), scope, Pace(options.faster))
    except ConfigurationError as error:
        sys.exit(str(error))
    write(files, options.directory)


if __name__ == "__main__":
    main()
