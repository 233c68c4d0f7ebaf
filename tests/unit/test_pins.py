from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def direct_requirements() -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
    return [Requirement(text) for text in texts]


def locked_versions() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z0-9,_-]+\])?==([^ ;\\]+)", LOCK, re.MULTILINE))


def test_every_direct_dependency_is_locked_at_a_version_that_pyproject_allows() -> None:
    locked = locked_versions()
    for requirement in direct_requirements():
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in locked, f"{name} is not locked: run `make lock`"
        assert requirement.specifier.contains(locked[name], prereleases=True), f"{name}: run `make lock`"


def test_every_locked_package_has_a_hash() -> None:
    for block in re.split(r"\n(?=[a-z0-9])", LOCK)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_lock_names_no_address() -> None:
    assert "://" not in LOCK


def test_every_direct_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[.*?^\[project.scripts\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = [line for line in block.group().splitlines() if re.match(r'\s+"', line)]
    assert lines
    assert [line for line in lines if not re.search(r'",\s*# \w+', line)] == []
