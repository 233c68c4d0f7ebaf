"""Every setting of every process; `tabario.settings_source` reads them.

Each group reads variables with its own prefix; `.env.example` lists them all. Settings are passed on as objects.
A secret may stand in a file that the variable with _FILE behind its name names: see `tabario.secret_files`.
A missing or contradictory setting raises ConfigurationError with a sentence that says what to set.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings

from tabario.errors import ConfigurationError
from tabario.settings.core import CoreSettings, Environment, PrefectSettings, RedisSettings
from tabario.settings.embedded import EmbeddedSettings
from tabario.settings.front_door import ApiSettings, WebhookSettings
from tabario.settings.monitoring import AlertSettings, MetricsScope, MetricsSettings, ScrapeSettings, TracingSettings
from tabario.settings.studio import ComfyUISettings, MediaSettings, Quality, VoiceEngineName, VoiceSettings
from tabario.settings.users import AuthSettings, SlotSettings
from tabario.settings.work_pool import WorkPoolSettings, WorkPoolType
from tabario.settings_source import read_group
from tabario.strength import refuse_weak_secrets

__all__ = [
    "AlertSettings",
    "ApiSettings",
    "AuthSettings",
    "ComfyUISettings",
    "CoreSettings",
    "EmbeddedSettings",
    "Environment",
    "MediaSettings",
    "MetricsScope",
    "MetricsSettings",
    "PrefectSettings",
    "Quality",
    "RedisSettings",
    "ScrapeSettings",
    "Settings",
    "SlotSettings",
    "TracingSettings",
    "VoiceEngineName",
    "VoiceSettings",
    "WebhookSettings",
    "WorkPoolSettings",
    "WorkPoolType",
]


class Settings(BaseModel):
    """All settings of one process."""

    model_config = ConfigDict(frozen=True)

    core: CoreSettings
    redis: RedisSettings
    prefect: PrefectSettings
    comfyui: ComfyUISettings
    voice: VoiceSettings
    media: MediaSettings
    slots: SlotSettings
    auth: AuthSettings
    api: ApiSettings
    metrics: MetricsSettings
    tracing: TracingSettings = Field(default_factory=TracingSettings)
    webhook: WebhookSettings = Field(default_factory=WebhookSettings)
    work_pool: WorkPoolSettings = Field(default_factory=WorkPoolSettings)

    @classmethod
    def from_environment(cls) -> Self:
        """Reads and checks everything. Raises ConfigurationError, naming each variable to mend."""
        groups: dict[str, BaseSettings] = {}
        problems: list[str] = []
        for name, field in cls.model_fields.items():
            assert isinstance(field.annotation, type)  # noqa: S101 - every group is a settings class
            try:
                groups[name] = read_group(field.annotation)
            except ConfigurationError as error:
                problems.append(str(error))
        if problems:
            raise ConfigurationError("\n".join(problems))
        settings = cls.model_validate(groups)
        if settings.core.environment is Environment.PRODUCTION:
            refuse_weak_secrets(settings.redis.url, settings.prefect.auth_string)
        return settings
