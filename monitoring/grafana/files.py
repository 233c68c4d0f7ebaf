"""The files that Grafana reads."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.business import business
from monitoring.grafana.comfyui import comfyui
from monitoring.grafana.operators import operators
from tabario.settings import AlertSettings

DIRECTORY: Final = Path(__file__).parent / "dashboards"


def dashboards(settings: AlertSettings) -> tuple[Dashboard, ...]:
    """All of them."""
    return operators(settings), business(), comfyui()


def rendered(settings: AlertSettings) -> dict[str, str]:
    """JSON by file name."""
    return {f"{board.uid}.json": encoded(board) for board in dashboards(settings)}


def encoded(board: Dashboard) -> str:
    """A dashboard as Grafana reads it."""
    return str(JSONEncoder(sort_keys=True, indent=2).encode(board)) + "\n"


def write(settings: AlertSettings, directory: Path = DIRECTORY) -> None:
    """Writes every dashboard."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in rendered(settings).items():
        (directory / name).write_text(text, encoding="utf-8")
