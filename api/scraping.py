"""`/metrics` of the front door is for Prometheus alone: the port is open to everybody, and the figures are not."""

from __future__ import annotations

import hmac
from typing import Final

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from api.authentication import bearer_token
from api.problems import unauthenticated
from tabario.errors import Unauthenticated
from tabario.settings import Environment, Settings

PATH: Final = "/metrics"


def for_prometheus(metrics: ASGIApp, settings: Settings) -> ASGIApp:
    """The metrics behind TABARIO_METRICS_TOKEN. Without one they are open in development, and closed everywhere else.

    A caller's address is no proof: behind a proxy on the same host everybody comes from loopback.
    """
    if settings.metrics.token is None and settings.core.environment is Environment.DEVELOPMENT:
        return metrics
    return Scraping(metrics, settings.metrics.token)


class Scraping:
    """Lets a request through that bears the token, or answers 401; nobody has the token that is None."""

    def __init__(self, metrics: ASGIApp, token: SecretStr | None) -> None:
        self._metrics = metrics
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        answer = self._metrics if self._is_known(values) else unauthenticated(PATH, has_token=bool(values))
        await answer(scope, receive, send)

    def _is_known(self, values: list[bytes]) -> bool:
        try:
            given = bearer_token(values)
        except Unauthenticated:
            return False
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.get_secret_value().encode())
