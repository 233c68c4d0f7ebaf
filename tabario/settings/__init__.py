"""Every setting of every process; `tabario.settings_source` reads them.

Each group reads variables with its own prefix; `.env.example` lists them all. Settings are passed on as objects.
A secret may stand in a file that the variable with _FILE behind its name names: see `tabario.secret_files`.
A missing or contradictory setting raises ConfigurationError with a sentence that says what to set.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr
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
from tabario.strength import refuse, weakness, weakness_of_address, weakness_of_credentials, weakness_of_webhook_secret

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

NEW_PROJECT_KEY: Final = "make a new one in the project's settings, or unset it when the project has signing keys"
NEW_BUCKET_KEY: Final = "have the store make the bucket's user a new key"


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
            refuse(settings.weaknesses())
        return settings

    def weaknesses(self) -> dict[str, str | None]:
        """What is wrong with each secret, by what sets it. Redis and Prefect need one; the others may be unset."""

        def judge(secret: SecretStr | None, by: Callable[[str], str | None] = weakness) -> str | None:
            return by(secret.get_secret_value()) if secret is not None else None

        auth_string = self.prefect.auth_string or SecretStr("")
        return {
            "TABARIO_REDIS_PASSWORD, or the password in TABARIO_REDIS_URL": judge(self.redis.url, weakness_of_address),
            "PREFECT_API_AUTH_STRING, user:password": judge(auth_string, weakness_of_credentials),
            "TABARIO_API_LINK_KEY": judge(self.api.link_key),
            "TABARIO_METRICS_TOKEN": judge(self.metrics.token),
            "TABARIO_WEBHOOK_SECRET": judge(self.webhook.secret, weakness_of_webhook_secret),
            "SUPABASE_JWT_SECRET": judge(self.auth.supabase_jwt_secret, partial(weakness, mend=NEW_PROJECT_KEY)),
            # A provider's own key passes; that of a store of one's own is chosen by somebody.
            "TABARIO_MEDIA_SECRET_KEY": judge(self.media.secret_key, partial(weakness, mend=NEW_BUCKET_KEY)),
        }
