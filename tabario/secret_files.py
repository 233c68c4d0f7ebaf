"""Secrets in files: each variable that holds a secret may be set by another, with _FILE behind its name, to a path.

That is how container platforms hand secrets over: a file is not shown to whoever lists processes or containers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tabario.errors import ConfigurationError

SUFFIX: Final = "_FILE"
MAX_BYTES: Final = 16 * 1024

_SECRET: Final = re.compile(r"(?:TABARIO|PREFECT|SUPABASE)_\w*(?:PASSWORD|SECRET|KEY|AUTH_STRING|TOKEN|URL)_FILE")


def secret_of(variable: str, environment: Mapping[str, str]) -> str | None:
    """What the file of a variable holds, without the line's end; None when no file is named.

    Raises ConfigurationError, which names the variable and never the contents.
    """
    name = f"{variable}{SUFFIX}"
    path = environment.get(name)
    if not path:
        return None
    if environment.get(variable):
        raise ConfigurationError(f"Set {variable} or {name}, not both.")
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        raise ConfigurationError(f"Set {name}: it does not name a file of text that can be read.") from None
    secret = text.rstrip("\r\n")
    if not secret or len(secret) > MAX_BYTES:
        raise ConfigurationError(f"Set {name}: the file is empty, or far too large for a secret.")
    return secret


def expand(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with what the files hold, for programs that read no files. Raises ConfigurationError."""
    expanded = dict(environment)
    for name in environment:
        if _SECRET.fullmatch(name):
            variable = name.removesuffix(SUFFIX)
            secret = secret_of(variable, environment)
            if secret is not None:
                del expanded[name]
                expanded[variable] = secret
    return expanded
