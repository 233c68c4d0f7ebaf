"""Secrets from files, and secrets that nobody should use."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tabario.cli.secret_files import DOCKET, GIVEN, MADE, check_secrets, make_secrets
from tabario.errors import ConfigurationError
from tabario.secret_files import expand
from tabario.settings import AuthSettings, RedisSettings, Settings, VoiceSettings, WebhookSettings
from tabario.settings_source import read_group

STRONG = "b2f1c09d7ae84653"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{STRONG}\n")
    return path


def test_a_secret_is_read_from_the_file_that_a_variable_names(
    monkeypatch: pytest.MonkeyPatch, secret_file: Path
) -> None:
    monkeypatch.setenv("TABARIO_VOICE_API_KEY_FILE", str(secret_file))
    key = read_group(VoiceSettings).api_key
    assert key is not None
    assert key.get_secret_value() == STRONG


def test_a_secret_without_a_prefix_is_read_from_a_file_too(monkeypatch: pytest.MonkeyPatch, secret_file: Path) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.co")
    monkeypatch.setenv("SUPABASE_SECRET_KEY_FILE", str(secret_file))
    key = read_group(AuthSettings).supabase_secret_key
    assert key is not None
    assert key.get_secret_value() == STRONG


def test_a_secret_in_two_places_is_refused(monkeypatch: pytest.MonkeyPatch, secret_file: Path) -> None:
    monkeypatch.setenv("TABARIO_VOICE_API_KEY_FILE", str(secret_file))
    monkeypatch.setenv("TABARIO_VOICE_API_KEY", STRONG)
    with pytest.raises(ConfigurationError, match=r"^Set TABARIO_VOICE_API_KEY or TABARIO_VOICE_API_KEY_FILE, not both"):
        read_group(VoiceSettings)


@pytest.mark.parametrize("contents", [b"", b"\n", b"x" * 20_000, b"\xff\xfe"])
def test_a_file_that_holds_no_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, secret_file: Path, contents: bytes
) -> None:
    secret_file.write_bytes(contents)
    monkeypatch.setenv("TABARIO_VOICE_API_KEY_FILE", str(secret_file))
    with pytest.raises(ConfigurationError, match=r"^Set TABARIO_VOICE_API_KEY_FILE: ") as caught:
        read_group(VoiceSettings)
    assert str(secret_file) not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TABARIO_REDIS_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="TABARIO_REDIS_URL_FILE"):
        read_group(RedisSettings)


def test_a_program_that_reads_no_files_is_given_the_secrets_and_nothing_else(secret_file: Path) -> None:
    given = {
        "PREFECT_SERVER_API_AUTH_STRING_FILE": str(secret_file),
        "PREFECT_API_SSL_CERT_FILE": "/etc/certificate.pem",
        "SSL_CERT_FILE": "/etc/certificate.pem",
        "HOME": "/home/app",
    }
    assert expand(given) == {
        "PREFECT_SERVER_API_AUTH_STRING": STRONG,
        "PREFECT_API_SSL_CERT_FILE": "/etc/certificate.pem",
        "SSL_CERT_FILE": "/etc/certificate.pem",
        "HOME": "/home/app",
    }


def test_the_password_of_redis_completes_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABARIO_REDIS_URL", "redis://redis:6379/2")
    monkeypatch.setenv("TABARIO_REDIS_PASSWORD", "a/b@c:d")
    assert read_group(RedisSettings).url.get_secret_value() == "redis://:a%2Fb%40c%3Ad@redis:6379/2"


def test_two_passwords_of_redis_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABARIO_REDIS_URL", f"redis://:{STRONG}@redis:6379/2")
    monkeypatch.setenv("TABARIO_REDIS_PASSWORD", STRONG)
    with pytest.raises(ConfigurationError, match="keep one of them"):
        read_group(RedisSettings)


STRONG_WEBHOOK = f"whsec_{base64.b64encode(bytes(range(100, 132))).decode()}"
PRODUCTION = {
    "TABARIO_REDIS_URL": f"redis://:{STRONG}@redis:6379/0",
    "PREFECT_API_URL": "http://127.0.0.1:4200/api",
    "PREFECT_API_AUTH_STRING": f"admin:{STRONG}",
    "TABARIO_COMFYUI_URL": "http://127.0.0.1:8188",
    "TABARIO_API_LINK_KEY": STRONG * 2,
    "TABARIO_METRICS_TOKEN": STRONG,
    "TABARIO_WEBHOOK_SECRET": STRONG_WEBHOOK,
    "SUPABASE_URL": "https://project.supabase.co",
    "SUPABASE_JWT_SECRET": STRONG * 2,
    "TABARIO_MEDIA_ACCESS_KEY": "films",
    "TABARIO_MEDIA_SECRET_KEY": STRONG,
}


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of a deployment whose secrets are good."""
    for variable, value in PRODUCTION.items():
        monkeypatch.setenv(variable, value)
    return monkeypatch


@pytest.mark.usefixtures("production")
def test_good_secrets_pass() -> None:
    assert Settings.from_environment().webhook.secret is not None


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("TABARIO_REDIS_URL", "redis://redis:6379/0", "TABARIO_REDIS_PASSWORD"),
        ("TABARIO_REDIS_URL", "redis://:short@redis:6379/0", "TABARIO_REDIS_PASSWORD"),
        ("TABARIO_REDIS_URL", "redis://:aaaaaaaaaaaaaaaaaaaa@redis:6379/0", "TABARIO_REDIS_PASSWORD"),
        ("TABARIO_REDIS_URL", "redis://:changeme-0123-abcd-4567@redis:6379/0", "TABARIO_REDIS_PASSWORD"),
        ("PREFECT_API_AUTH_STRING", "", "PREFECT_API_AUTH_STRING"),
        ("PREFECT_API_AUTH_STRING", "admin:pass", "PREFECT_API_AUTH_STRING"),
        ("PREFECT_API_AUTH_STRING", "no-colon-in-this-one", "PREFECT_API_AUTH_STRING"),
        ("TABARIO_API_LINK_KEY", "password" * 4, "TABARIO_API_LINK_KEY"),
        ("TABARIO_API_LINK_KEY", "ab" * 16, "TABARIO_API_LINK_KEY"),
        ("TABARIO_METRICS_TOKEN", "prometheus", "TABARIO_METRICS_TOKEN"),
        ("TABARIO_WEBHOOK_SECRET", f"whsec_{base64.b64encode(bytes(24)).decode()}", "TABARIO_WEBHOOK_SECRET"),
        (
            "TABARIO_WEBHOOK_SECRET",
            f"{STRONG_WEBHOOK} whsec_{base64.b64encode(b'changeme' * 4).decode()}",
            "TABARIO_WEBHOOK_SECRET",
        ),
        ("SUPABASE_JWT_SECRET", "a" * 32, "SUPABASE_JWT_SECRET"),
        (
            "SUPABASE_JWT_SECRET",
            "your-super-secret-jwt-token-with-at-least-32-characters-long",
            "SUPABASE_JWT_SECRET",
        ),
        ("TABARIO_MEDIA_SECRET_KEY", "b", "TABARIO_MEDIA_SECRET_KEY"),
        ("TABARIO_MEDIA_SECRET_KEY", "minioadmin", "TABARIO_MEDIA_SECRET_KEY"),
    ],
)
def test_a_missing_or_weak_secret_stops_production_and_is_named_and_not_repeated(
    production: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    production.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"^Set {named}.*: .*; .+") as caught:
        Settings.from_environment()
    assert len(str(caught.value).splitlines()) == 1
    assert len(value) < 2 or value not in str(caught.value)


def test_production_does_not_start_with_weak_secrets_and_development_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABARIO_REDIS_URL", "redis://127.0.0.1:6379/0")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    monkeypatch.setenv("TABARIO_COMFYUI_URL", "http://127.0.0.1:8188")
    with pytest.raises(ConfigurationError, match="PREFECT_API_AUTH_STRING"):
        Settings.from_environment()
    monkeypatch.setenv("TABARIO_ENVIRONMENT", "development")
    assert Settings.from_environment().webhook.url is None


@pytest.mark.parametrize(("url", "secret"), [("https://app.example/hook", ""), ("https://app.example/hook", "hunter2")])
def test_a_webhook_needs_an_address_and_a_good_secret(monkeypatch: pytest.MonkeyPatch, url: str, secret: str) -> None:
    monkeypatch.setenv("TABARIO_WEBHOOK_URL", url)
    monkeypatch.setenv("TABARIO_WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigurationError, match="TABARIO_WEBHOOK_SECRET") as caught:
        read_group(WebhookSettings)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Every secret of docker-compose.yml, as `tabario secrets` and an operator make them."""
    made = tmp_path / "secrets"
    list(make_secrets(made))
    (made / GIVEN).write_text("sb_secret_of_a_project\n")
    return made


def test_secrets_as_they_are_made_pass(directory: Path) -> None:
    check_secrets(directory)


@pytest.mark.parametrize("name", [*MADE, DOCKET, GIVEN])
@pytest.mark.parametrize("contents", [None, b"", b"\n", b"\xff\xfe"])
def test_a_secret_of_the_compose_file_that_is_missing_or_empty_is_named(
    directory: Path, name: str, contents: bytes | None
) -> None:
    path = directory / name
    path.unlink() if contents is None else path.write_bytes(contents)
    with pytest.raises(ConfigurationError, match=rf"(?m)^Set secrets/{name}: it is missing, empty"):
        check_secrets(directory)


@pytest.mark.parametrize(
    ("name", "weak"),
    [
        ("postgres_password", "hunter2"),
        ("redis_password", "foobared"),
        ("prefect_auth", "tabario:changeme"),
        ("prefect_auth", "a-long-one-without-a-colon-b2f1c09d7ae84653"),
        ("prefect_docket_url", "redis://redis:6379/2"),
        ("prefect_docket_url", f"redis://:{STRONG}@redis:6379/2"),
        ("grafana_password", "admin"),
        ("link_key", "password" * 4),
        ("metrics_token", "prometheus"),
        ("webhook_secret", f"whsec_{base64.b64encode(bytes(24)).decode()}"),
        ("webhook_secret", "hunter2hunter2hunter2"),
        ("media_secret_key", "minioadmin"),
    ],
)
def test_a_weak_secret_of_the_compose_file_is_named_and_not_repeated(directory: Path, name: str, weak: str) -> None:
    (directory / name).write_text(weak)
    with pytest.raises(ConfigurationError, match=rf"(?m)^Set secrets/{name}: ") as caught:
        check_secrets(directory)
    assert weak not in str(caught.value)
