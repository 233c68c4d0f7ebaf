"""Programs of other people that tests run, where the machine has them."""

from __future__ import annotations

import shutil

import pytest


def tool(name: str, *, package: str) -> str:
    """Path of a program on PATH; skips the test without it."""
    if (found := shutil.which(name)) is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found
