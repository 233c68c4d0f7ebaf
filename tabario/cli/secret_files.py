"""`tabario secrets`: the secrets of docker-compose.yml, made once."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

REDIS: Final = "redis_password"
DOCKET: Final = "prefect_docket_url"
GIVEN: Final = "supabase_secret_key"


def _password() -> str:
    return secrets.token_hex(24)


MADE: Final[dict[str, Callable[[], str]]] = {
    "postgres_password": _password,
    REDIS: _password,
    "prefect_auth": lambda: f"tabario:{_password()}",
    "grafana_password": _password,
    "link_key": _password,
    "webhook_secret": lambda: f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
}


def make_secrets(directory: Path) -> Iterator[str]:
    """Writes each secret that is not there yet; yields a line about each.

    The directory is its owner's alone. The files are not: a container reads them as a user of its own.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    for name, make in MADE.items():
        yield _write(directory / name, make)
    password = (directory / REDIS).read_text(encoding="utf-8").strip()
    yield _write(directory / DOCKET, lambda: f"redis://:{password}@redis:6379/2")
    if not (directory / GIVEN).exists():
        yield f"{GIVEN}: missing; put the secret key of your Supabase project into this file"


def _write(path: Path, make: Callable[[], str]) -> str:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{make()}\n")
    except FileExistsError:
        return f"{path.name}: kept"
    path.chmod(0o644)
    return f"{path.name}: made"
