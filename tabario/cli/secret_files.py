"""`tabario secrets`: the secrets of docker-compose.yml, made once, and looked at before anything starts with them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tabario.secret_files import MAX_BYTES
from tabario.strength import refuse, weakness, weakness_of_address, weakness_of_credentials, weakness_of_webhook_secret

REDIS: Final = "redis_password"
DOCKET: Final = "prefect_docket_url"
GIVEN: Final = "supabase_secret_key"
VOICE: Final = "voice_api_key"


def _password() -> str:
    return secrets.token_hex(24)


MADE: Final[dict[str, Callable[[], str]]] = {
    "postgres_password": _password,
    REDIS: _password,
    "prefect_auth": lambda: f"tabario:{_password()}",
    "grafana_password": _password,
    "link_key": _password,
    "metrics_token": _password,
    "webhook_secret": lambda: f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
}
OPTIONAL: Final = frozenset({VOICE})
"""May be empty: nothing reads it then, for TABARIO_VOICE_API_KEY_FILE names it when an operator says so."""

JUDGED: Final[dict[str, Callable[[str], str | None]]] = {
    "postgres_password": weakness,
    REDIS: weakness,
    "prefect_auth": weakness_of_credentials,
    DOCKET: weakness_of_address,
    "grafana_password": weakness,
    "link_key": weakness,
    "metrics_token": weakness,
    "webhook_secret": weakness_of_webhook_secret,
    "media_secret_key": weakness,
}
"""Those that somebody may choose. Of the others no more can be said than whether they are there."""


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
    if (voice := directory / VOICE).exists():
        yield f"{VOICE}: kept"
    else:
        voice.touch(mode=0o644)
        yield f"{VOICE}: empty; put the key of the HTTP voice service into this file if it asks for one"
    if not (directory / GIVEN).exists():
        yield f"{GIVEN}: missing; put the secret key of your Supabase project into this file"


def check_secrets(directory: Path) -> None:
    """Raises ConfigurationError with a sentence for each secret that is missing, empty or easily guessed.

    Some images take any password, or none: PostgreSQL's and Grafana's do.
    """
    needed = {*MADE, DOCKET, GIVEN}
    there = {path.name for path in directory.iterdir() if path.is_file()} if directory.is_dir() else set()
    refuse({f"{directory.name}/{name}": _fault(directory, name) for name in sorted(needed | there)})


def _fault(directory: Path, name: str) -> str | None:
    secret = _read(directory / name)
    if not secret and name not in OPTIONAL:
        mend = "remove it and run `tabario secrets`" if name in {*MADE, DOCKET} else "put the key into it"
        return f"it is missing, empty or no text; {mend}"
    if name == DOCKET and urlsplit(secret).password != _read(directory / REDIS):
        return f"it holds another password than {REDIS}; remove it and run `tabario secrets`"
    return JUDGED[name](secret) if name in JUDGED else None


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES).rstrip("\r\n")
    except (OSError, ValueError):
        return ""


def _write(path: Path, make: Callable[[], str]) -> str:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{make()}\n")
    except FileExistsError:
        return f"{path.name}: kept"
    path.chmod(0o644)
    return f"{path.name}: made"
