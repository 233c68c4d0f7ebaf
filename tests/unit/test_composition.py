"""docker-compose.yml and the Dockerfile as files: what they open, and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft201909Validator
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from tabario import settings
from tabario.cli.secret_files import make_secrets
from tabario.embedded.prefect import RETENTION
from tabario.secret_files import expand
from tabario.settings import MediaSettings, VoiceSettings
from tabario.settings_source import read_group, variable_name
from tabario.strength import weakness
from tests.support.composition import COMPOSE_FILE, OURS, ROOT, entrypoint, image_environment, overlaid, read_compose

SCHEMA: Final = ROOT / "tests" / "recordings" / "compose" / "compose_spec.json"
S3_FILE, DOCKER_FILE, GPU_FILE = OVERLAYS = [ROOT / f"docker-compose.{name}.yml" for name in ("s3", "docker", "gpu")]
VARIABLES: Final = {
    "PUBLIC_URL": "https://films.example",
    "SUPABASE_URL": "https://project.supabase.co",
    "COMFYUI_URL": "http://gpu:8188",
    "MEDIA_BUCKET": "films",
    "DOCKER_GROUP": "999",
    "COMFYUI_IMAGE": "comfyui:1.2.3",
    "COMFYUI_MODELS": "/srv/models",
    "COMFYUI_MODELS_MOUNT": "/models",
    "VOICE_IMAGE": "voice:1.2.3",
    "VOICE_API_KEY_FILE": "/run/secrets/voice_api_key",
}
ONE_OFF: Final = {"check": "no", "migrate": "on-failure", "deploy": "on-failure", "rules": "on-failure"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return read_compose(VARIABLES)


@pytest.mark.parametrize("path", [COMPOSE_FILE, *OVERLAYS])
def test_the_file_fits_the_specification(path: Path) -> None:
    validator = Draft201909Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(read_compose(VARIABLES, path))] == []


def test_only_the_front_door_is_open_to_other_hosts(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    everywhere = {name for name, ports in published.items() if not all(port.startswith("127.0.0.1:") for port in ports)}
    assert everywhere == {"front-door"}
    assert published.keys() <= {"front-door", "prefect-server", "grafana"}


def test_databases_are_out_of_reach_of_everything_outside(compose: dict[str, Any]) -> None:
    internal = {name for name, network in compose["networks"].items() if network.get("internal")}
    for name in ("postgres", "redis"):
        assert set(compose["services"][name]["networks"]) <= internal


def test_every_image_is_of_one_exact_version(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()}
    bases = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert all(re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)*$", image) for image in images | bases), images


def test_every_service_is_watched_limited_and_started_again(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name in ONE_OFF:
            assert service["restart"] == ONE_OFF[name]
        else:
            assert service["restart"] == "unless-stopped"
            assert "healthcheck" in service
            assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
        assert "no-new-privileges:true" in service["security_opt"]


def test_our_containers_have_no_rights_and_nothing_to_write_to_but_what_is_named(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        if service["image"].startswith(OURS):
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
    assert re.search(r"^USER 10001:10001$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_what_prefect_writes_goes_where_the_container_lets_it(compose: dict[str, Any]) -> None:
    """A server that cannot copy its UI only says so in its log, and stays healthy without one."""
    for name in ("migrate", "prefect-server", "prefect-services", "worker"):
        service = compose["services"][name]
        volumes = [volume.rpartition(":")[2] for volume in service.get("volumes", ()) if not volume.endswith(":ro")]
        writable = [*volumes, *service.get("tmpfs", ())]
        environment = image_environment() | service["environment"]
        written = [environment["PREFECT_HOME"]]
        if name == "prefect-server":
            written.append(environment["PREFECT_SERVER_UI_STATIC_DIRECTORY"])
        assert all(any(Path(path).is_relative_to(place) for place in writable) for path in written), name


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    secret = re.compile(r"PASSWORD|SECRET|AUTH|KEY|TOKEN|DOCKET_URL")
    for service in (*compose["services"].values(), *read_compose(VARIABLES, S3_FILE)["services"].values()):
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable) and not variable.endswith("_ENABLED"):
                assert re.fullmatch(r"\w+_?_FILE", variable), variable
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_the_doctor_is_run_where_films_are_made_and_not_in_memory(compose: dict[str, Any]) -> None:
    """Elsewhere /tmp is a small piece of memory, and the doctor would find too little space for ever."""
    manual = COMPOSE_FILE.read_text() + (ROOT / "docs" / "operators.md").read_text()
    services = re.findall(r"docker compose (?:run|exec) (?:--\S+ )*(\S+) tabario doctor", manual)
    assert len(services) == 2
    for name in services:
        service = compose["services"][name]
        assert "/tmp" in service["volumes"]  # noqa: S108 - the place in the container
        assert "tmpfs" not in service
        assert {"media", "worker-metrics"} <= {volume.partition(":")[0] for volume in service["volumes"]}


@pytest.mark.parametrize("overlays", [(), (S3_FILE,), (DOCKER_FILE,), (GPU_FILE,)])
def test_nothing_starts_with_a_secret_that_was_not_looked_at(compose: dict[str, Any], overlays: tuple[Path]) -> None:
    for path in overlays:
        compose = overlaid(compose, read_compose(VARIABLES, path))
    services = compose["services"]

    def waits(name: str) -> bool:
        needed = services[name].get("depends_on", {})
        return needed.get("check") == {"condition": "service_completed_successfully"} or any(map(waits, needed))

    holders = {name for name, service in services.items() if "secrets" in service and name != "check"}
    assert holders
    assert [name for name in holders if not waits(name)] == []
    assert set(services["check"]["secrets"]) == set(compose["secrets"])


def test_prefect_forgets_runs_after_the_same_time_as_the_embedded_one(compose: dict[str, Any]) -> None:
    for service in ("prefect-server", "prefect-services"):
        assert compose["services"][service]["environment"].items() >= RETENTION.items()


@pytest.mark.parametrize("missing", ["PUBLIC_URL", "SUPABASE_URL", "COMFYUI_URL"])
def test_it_does_not_start_without_what_only_its_operator_knows(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        read_compose({name: value for name, value in VARIABLES.items() if name != missing})


def test_every_variable_that_is_ours_is_a_setting(compose: dict[str, Any]) -> None:
    groups = [
        kind
        for kind in vars(settings).values()
        if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind is not BaseSettings
    ]
    known = {variable_name(group, name) for group in groups for name in group.model_fields}
    overlays = [read_compose(VARIABLES, path)["services"] for path in OVERLAYS]
    services = [service for services in (compose["services"], *overlays) for service in services.values()]
    used = {variable for service in services for variable in service.get("environment", {})}
    ours = {variable.removesuffix("_FILE") for variable in used if variable.startswith(("TABARIO_", "SUPABASE_"))}
    assert ours <= known


def test_the_example_of_the_variables_names_each_of_them() -> None:
    example = (ROOT / "deploy" / "compose.env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))
    files = "".join(path.read_text() for path in (COMPOSE_FILE, *OVERLAYS))
    assert named == set(re.findall(r"(?<!\$)\$\{(\w+)", files))


@pytest.mark.parametrize("service", ["deploy", "worker", "front-door"])
def test_voice_and_music_are_what_the_operator_sets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: str
) -> None:
    given = {
        "VOICE_ENGINE": "openai",
        "VOICE_URL": "https://voice.example",
        "VOICE_MODEL": "tts-1-hd",
        "VOICE_NAME": "nova",
        "VOICE_FALLBACKS": "espeak",
        "VOICE_API_KEY_FILE": "/run/secrets/voice_api_key",
        "MUSIC_DIRECTORY": "/srv/music",
    }
    declared = read_compose(VARIABLES | given)["services"][service]
    assert "voice_api_key" in declared["secrets"]
    (tmp_path / "key").write_text("sk-of-the-service")
    for variable, value in declared["environment"].items():
        if variable.startswith(("TABARIO_VOICE_", "TABARIO_MEDIA_")):
            monkeypatch.setenv(variable, value.replace("/run/secrets/voice_api_key", str(tmp_path / "key")))
    voice = read_group(VoiceSettings)
    assert (voice.engine, voice.url) == ("openai", "https://voice.example")
    assert (voice.model, voice.voice, voice.fallbacks) == ("tts-1-hd", "nova", ("espeak",))
    assert voice.api_key == SecretStr("sk-of-the-service")
    music = read_group(MediaSettings).music
    assert service == "deploy" or f"/srv/music:{music}:ro" in declared["volumes"]


def test_without_an_operators_word_the_embedded_voice_speaks_and_asks_for_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = read_compose({**VARIABLES, "VOICE_API_KEY_FILE": ""})["services"]["worker"]
    voice = {name: value for name, value in declared["environment"].items() if name.startswith("TABARIO_VOICE_")}
    for variable, value in expand(voice).items():
        monkeypatch.setenv(variable, value)
    assert "TABARIO_VOICE_API_KEY_FILE" in voice
    assert read_group(VoiceSettings) == VoiceSettings()


@pytest.mark.parametrize("variables", [VARIABLES, VARIABLES | {"MUSIC_DIRECTORY": "/srv/music"}])
def test_jobs_in_containers_have_the_music_that_the_front_door_offers(variables: dict[str, str]) -> None:
    compose = overlaid(read_compose(variables), read_compose(variables, DOCKER_FILE))
    [offered] = compose["services"]["front-door"]["volumes"][-1:]
    source, _, target = offered.partition(":")
    found = compose["services"]["deploy"]["environment"]["TABARIO_POOL_VOLUMES"].split(",")
    assert f"{(compose['volumes'].get(source) or {}).get('name', source)}:{target}" in found


@pytest.mark.parametrize("path", OVERLAYS)
def test_no_overlay_opens_a_port(path: Path) -> None:
    assert not any("ports" in service for service in read_compose(VARIABLES, path)["services"].values())


def test_what_an_operator_brings_for_the_gpu_is_kept_as_everything_else(compose: dict[str, Any]) -> None:
    with_gpu = overlaid(compose, read_compose(VARIABLES, GPU_FILE))
    test_every_service_is_watched_limited_and_started_again(with_gpu)
    for name in ("comfyui-gpu", "voice"):
        assert with_gpu["services"][name]["networks"] == ["outside"]


def test_everything_that_is_mounted_is_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), source
            assert source.startswith(("./", "/")) or source in compose["volumes"], source


def test_the_image_holds_what_it_copies_and_runs() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for source in (word for line in copied for word in line.split()):
        assert (ROOT / source).exists()
        assert f"!{source}" in allowed
    assert entrypoint() == ["tabario", "exec", "--"]


def test_the_image_gets_the_versions_of_the_lock_and_no_tools() -> None:
    pinned, run = (
        dict(re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements.run.lock")
    )
    assert run.items() <= pinned.items()
    assert "prefect" in run
    assert not run.keys() & {"pytest", "ruff", "mypy", "moto", "uv"}


def test_secrets_are_made_once_strong_and_as_the_file_names_them(compose: dict[str, Any], tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    lines = list(make_secrets(directory))
    made = {path.name: path.read_text().strip() for path in directory.iterdir()}
    assert "supabase_secret_key: missing" in lines[-1]
    assert {*made, "supabase_secret_key"} == set(compose["secrets"])
    assert made.pop("voice_api_key") == ""
    assert [weakness(secret) for secret in made.values()] == [None] * len(made)
    assert made["redis_password"] in made["prefect_docket_url"]
    assert directory.stat().st_mode & 0o077 == 0

    assert all(line.endswith((": kept", "file")) for line in make_secrets(directory))
    assert {path.name: path.read_text().strip() for path in directory.iterdir()} == {**made, "voice_api_key": ""}


def test_every_secret_file_of_ours_reaches_programs_that_read_none(compose: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("b2f1c09d7ae84653")
    for service in compose["services"].values():
        if service["image"].startswith(OURS):
            files = [name for name in service.get("environment", {}) if name.endswith("_FILE")]
            expanded = expand(dict.fromkeys(files, str(tmp_path / "secret")))
            assert set(expanded) == {name.removesuffix("_FILE") for name in files}
