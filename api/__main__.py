"""`python -m api`: serves the front door."""

from __future__ import annotations

import sys
from typing import Final

import uvicorn

from api.app import create_app
from tabario.errors import ConfigurationError
from tabario.logs import configure_logging
from tabario.settings import Settings

GRACE_SECONDS: Final = 30
KEEP_ALIVE_SECONDS: Final = 75  # longer than proxies keep a connection, or one sends into a connection just closed


def main() -> None:
    """Serves until it is told to stop, then gives running requests `GRACE_SECONDS`."""
    configure_logging()
    try:
        settings = Settings.from_environment()
        app = create_app(settings)
    except ConfigurationError as error:
        sys.exit(str(error))
    uvicorn.run(
        app,
        host=settings.api.host,
        port=settings.api.port,
        http="h11",  # caps the size of headers, which httptools does not
        ws="none",
        lifespan="on",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


if __name__ == "__main__":
    main()
