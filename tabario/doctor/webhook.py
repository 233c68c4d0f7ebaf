"""Whether the app's webhook address can be reached; nothing is posted to it."""

from __future__ import annotations

from tabario.clients.outbound import AddressRefused, NoAnswer
from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.settings import Environment, WebhookSettings
from tabario.webhooks.endpoint import endpoint_of


async def check_webhook(settings: WebhookSettings, environment: Environment) -> list[Finding]:
    """Connects, with TLS when the address begins with https."""
    endpoint = endpoint_of(settings, environment)
    if endpoint is None:
        return [
            warn(
                "webhook",
                "No webhook is set: the app has to ask for each job's end.",
                "Set TABARIO_WEBHOOK_URL and TABARIO_WEBHOOK_SECRET, unless the app follows jobs by itself.",
            )
        ]
    try:
        await endpoint.client.connect(endpoint.url)
    except AddressRefused as error:
        return [fail("webhook", str(error), "Set TABARIO_WEBHOOK_ALLOW_PRIVATE=true if that is meant.")]
    except NoAnswer as error:
        return [fail("webhook", str(error), "Start the app's server, or set TABARIO_WEBHOOK_URL to where it is.")]
    return [ok("webhook", "The webhook's host can be reached.")]
