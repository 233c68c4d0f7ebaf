"""Picture styles: what each adds to a prompt, and the ComfyUI workflow that paints it.

Read from `styles.yaml` beside this file; workflows are JSON files in ComfyUI's API format under `workflows/`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict

DEFAULT_STYLE: Final = "default"


class Style(BaseModel):
    """A picture style. `prompt` is put after the scene's own words; `workflow` names a template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    negative_prompt: str
    workflow: str


def _read_styles() -> dict[str, Style]:
    text = (files(__name__) / "styles.yaml").read_text(encoding="utf-8")
    return {name: Style.model_validate(fields) for name, fields in yaml.safe_load(text).items()}


STYLES: Final[dict[str, Style]] = _read_styles()
