"""The two versions of ComfyUI whose behaviour the stand-in knows."""

from __future__ import annotations

from enum import StrEnum


class Version(StrEnum):
    """A version of ComfyUI."""

    V0_3_64 = "0.3.64"
    V0_33_0 = "0.33.0"

    @property
    def is_strict(self) -> bool:
        """Whether prompt ids must be UUIDs, garbled prompts are errors, and /api/jobs exists."""
        return self is Version.V0_33_0
