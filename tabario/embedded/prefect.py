"""The embedded Prefect server on SQLite: its command and its environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

RETENTION: Final = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "2592000",
}
"""Runs are forgotten 30 days after their end: with Prefect's default the database grows for ever."""


def prefect_server_command(*, port: int) -> list[str]:
    """Command that serves the Prefect API and UI on loopback."""
    module = "tabario.embedded.prefect_server"
    return [sys.executable, "-m", module, "server", "start", "--host", "127.0.0.1", "--port", str(port)]


def prefect_server_environment(
    *, home: Path, port: int, redis_port: int, redis_password: str, ui: bool = True
) -> dict[str, str]:
    """Environment of the server.

    Leases live in Redis: with Prefect's default, its own memory, a restart would leave every slot taken for ever.
    """
    return {
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home.resolve()}/prefect.db",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
        "PREFECT_REDIS_MESSAGING_PORT": str(redis_port),
        "PREFECT_REDIS_MESSAGING_PASSWORD": redis_password,
        "PREFECT_REDIS_MESSAGING_DB": "0",
        # The default lets the scripts of any web page call the API.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        **RETENTION,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": str(ui).lower(),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
    }
