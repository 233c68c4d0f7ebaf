"""Secrets from files, and secrets that nobody should use."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from tabario.errors import ConfigurationError
from tabario.secret_files import expand
from tabario.settings import AuthSettings, RedisSettings, Settings, VoiceSettings, WebhookSettings
from tabario.settings_source import read_group
from tabario.strength import refuse_weak_secrets

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


@pytest.mark.parametrize(
    ("redis", "prefect", "named"),
    [
        ("redis://redis:6379/0", f"admin:{STRONG}", "TABARIO_REDIS"),
        ("redis://:short@redis:6379/0", f"admin:{STRONG}", "TABARIO_REDIS"),
        ("redis://:aaaaaaaaaaaaaaaaaaaa@redis:6379/0", f"admin:{STRONG}", "TABARIO_REDIS"),
        ("redis://:changeme-0123-abcd-4567@redis:6379/0", f"admin:{STRONG}", "TABARIO_REDIS"),
        (f"redis://:{STRONG}@redis:6379/0", None, "PREFECT_API_AUTH_STRING"),
        (f"redis://:{STRONG}@redis:6379/0", "admin:pass", "PREFECT_API_AUTH_STRING"),
        (f"redis://:{STRONG}@redis:6379/0", "no-colon-in-this-one", "PREFECT_API_AUTH_STRING"),
    ],
)
def test_a_missing_or_weak_secret_is_named_and_not_repeated(redis: str, prefect: str | None, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^Set {named}") as caught:
        refuse_weak_secrets(SecretStr(redis), SecretStr(prefect) if prefect else None)
    assert "changeme-0123" not in str(caught.value)


def test_good_secrets_pass() -> None:
    refuse_weak_secrets(SecretStr(f"redis://:{STRONG}@redis:6379/0"), SecretStr(f"admin:{STRONG}"))


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
