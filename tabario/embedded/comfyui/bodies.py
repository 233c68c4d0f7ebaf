"""Request bodies as the server reads them: JSON whatever the content type says."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request


class Garbled(Exception):
    """A request that the server trips over; it answers 500 in plain text."""


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Arrays and strings count as objects without keys. Raises Garbled."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Garbled from None
    if isinstance(body, list | str):
        return {}
    if not isinstance(body, dict):
        raise Garbled
    return body
