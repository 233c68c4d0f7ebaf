"""Where webhooks go, and how one is sent there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Final

from tabario.clients.outbound import AddressRules, OutboundClient, Reply
from tabario.errors import ConfigurationError
from tabario.settings import Environment, WebhookSettings
from tabario.webhooks.messages import Message
from tabario.webhooks.signing import decode_secret, signature_headers

USER_AGENT: Final = f"tabario-flows/{version('tabario-flows')}"


@dataclass(frozen=True)
class Endpoint:
    """The operator's address for webhooks. `keys` sign: one, or two while the secret is being changed."""

    url: str
    keys: Sequence[bytes]
    client: OutboundClient

    async def send(self, message: Message, *, at: datetime) -> Reply:
        """One attempt. Raises AddressRefused and NoAnswer."""
        body = message.body.encode()
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            **signature_headers(self.keys, message_id=message.id, timestamp=int(at.timestamp()), body=body),
        }
        return await self.client.post(self.url, body, headers)


def endpoint_of(settings: WebhookSettings, environment: Environment) -> Endpoint | None:
    """The endpoint that the settings name, or None. Raises ConfigurationError."""
    if settings.url is None or settings.secret is None:
        return None
    development = environment is Environment.DEVELOPMENT
    rules = AddressRules(plain_http=development, private=development or settings.allow_private)
    url = settings.url.get_secret_value()
    try:
        rules.check_url(url)
    except ValueError as error:
        raise ConfigurationError(f"Set TABARIO_WEBHOOK_URL (where webhooks are posted to): {error}.") from None
    keys = tuple(decode_secret(secret) for secret in settings.secret.get_secret_value().split())
    return Endpoint(url, keys, OutboundClient(rules, seconds=settings.timeout))
