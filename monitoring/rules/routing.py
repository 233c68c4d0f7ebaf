"""Who hears of an alert, and which alerts are only an echo of another."""

from __future__ import annotations

from typing import Any, Final

from monitoring.rules.pace import Pace
from monitoring.rules.rule import Severity
from tabario.settings import AlertSettings

RECEIVER: Final = "operators"

ECHOES: Final[dict[str, tuple[str, ...]]] = {
    "ExporterStale": ("RedisErrors",),
    "WorkerInactive": ("QueueDepthHigh", "PremiumJobsWait"),
    "JobFailureRateHigh": ("JobBudgetBurnFast", "JobBudgetBurnSlow"),
    "JobBudgetBurnFast": ("JobBudgetBurnSlow",),
    "ImageGenerationSlow": ("ImagesOverLimit",),
}
"""While the first fires, nobody is told of the others of the same target."""


def alertmanager_document(settings: AlertSettings, pace: Pace) -> dict[str, Any]:
    """The content of alertmanager.yml."""
    t = pace.duration
    return {
        "route": {
            "receiver": RECEIVER,
            "group_by": ["alertname", "job"],
            "group_wait": t("30s"),
            "group_interval": t("5m"),
            "repeat_interval": t("12h"),
            "routes": [
                {
                    "matchers": [f'severity="{Severity.CRITICAL.value}"'],
                    "group_wait": t("10s"),
                    "repeat_interval": t("1h"),
                }
            ],
        },
        "inhibit_rules": [_inhibition(cause, echoes) for cause, echoes in ECHOES.items()],
        "receivers": [_receiver(settings)],
    }


def _inhibition(cause: str, echoes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "source_matchers": [f'alertname="{cause}"'],
        "target_matchers": [f'alertname=~"{"|".join(echoes)}"'],
        "equal": ["job"],
    }


def _receiver(settings: AlertSettings) -> dict[str, Any]:
    """Without an address, alerts stand on Alertmanager's own page only."""
    if settings.webhook_url is None:
        return {"name": RECEIVER}
    webhook = {"url": settings.webhook_url.get_secret_value(), "send_resolved": True}
    return {"name": RECEIVER, "webhook_configs": [webhook]}
