"""What the embedded stack starts, and what it tells its processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tabario.cli.surroundings import read_stack
from tabario.embedded.stack import Stack
from tabario.embedded.state import StackDirectory
from tabario.errors import ConfigurationError

OWN = "http://gpu.example:8188,http://gpu-2.example:8188"


def read(directory: Path) -> Stack:
    return read_stack(StackDirectory(directory))


def test_the_stand_in_paints_unless_servers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TABARIO_COMFYUI_URL", raising=False)
    monkeypatch.setenv("TABARIO_EMBEDDED_COMFYUI_PORT", "18188")
    assert read(tmp_path).environment()["TABARIO_COMFYUI_URL"] == "http://127.0.0.1:18188"
    assert "comfyui-stand-in" in [service.name for service in read(tmp_path).neighbours()]


def test_own_servers_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABARIO_COMFYUI_URL", OWN)
    assert read(tmp_path).environment()["TABARIO_COMFYUI_URL"] == OWN
    assert [service.name for service in read(tmp_path).neighbours()] == ["prefect-server"]


def test_an_address_that_is_none_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABARIO_COMFYUI_URL", "gpu.example")
    with pytest.raises(ConfigurationError, match="TABARIO_COMFYUI_URL"):
        read(tmp_path)
