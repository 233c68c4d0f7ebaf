"""Programs of other people that tests run, where the machine has them."""

from __future__ import annotations

import shutil

import pytest


def tool(*names: str, package: str) -> str:
    """Path of a program on PATH, known under one of these names; skips the test without it."""
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip(f"{names[0]} is not installed (Debian package {package})")
