from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tabario.embedded.redis import find_redis_server, redis_command
from tabario.embedded.state import RunningStack, StackDirectory
from tabario.errors import ConfigurationError

STACK = RunningStack(pid=1, api_url="http://a", prefect_url="http://p", exporter_url="http://e", comfyui_url="http://c")


def test_secrets_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    first = StackDirectory(tmp_path / "state").secrets()
    assert StackDirectory(tmp_path / "state").secrets() == first
    assert len(first.development_key) >= 32
    assert stat.S_IMODE((tmp_path / "state" / "secrets.json").stat().st_mode) == 0o600


def test_second_stack_in_the_same_directory_is_refused_by_name(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path / "state")
    with (
        directory.lock(),
        pytest.raises(ConfigurationError, match=r"already runs in state \(process \d+\)"),
        StackDirectory(tmp_path / "state").lock(),
    ):
        pass


def test_running_stack_is_found_while_it_holds_the_directory(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    assert directory.running() is None
    with directory.lock():
        assert directory.running() is None, "not ready yet"
        directory.announce(STACK)
        assert StackDirectory(tmp_path).running() == STACK
    assert directory.running() is None


def test_note_of_a_stack_that_died_is_not_believed(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    with directory.lock():
        directory.announce(STACK)
        note = (tmp_path / "stack.json").read_text()
    (tmp_path / "stack.json").write_text(note)
    assert directory.running() is None


def test_machine_without_a_redis_server_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tabario.embedded.redis.find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match="install redis-server"):
        find_redis_server()


def test_configured_redis_server_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TABARIO_EMBEDDED_REDIS_SERVER"):
        find_redis_server(tmp_path / "absent")


def test_redis_password_stands_in_a_private_file_and_not_on_the_command_line(tmp_path: Path) -> None:
    command = redis_command(Path("/redis-server"), port=1, password="canary", directory=tmp_path / "redis")
    assert not any("canary" in word for word in command)
    config = Path(command[1])
    assert 'requirepass "canary"' in config.read_text()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
