"""The fonts that subtitles are set in: Roboto, which comes with the project, then whatever the system has."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tabario.errors import ConfigurationError

FAMILY: Final = "Roboto"
_FILE: Final = "Roboto-Bold.ttf"
_SYSTEM: Final = "/usr/share/fonts"
_CONFIG_FILE: Final = "fonts.conf"


def font_file() -> Path:
    """The bold Roboto. Raises ConfigurationError when it is missing: ffmpeg would burn in nothing and not say so."""
    package = find_spec("font_roboto")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "files" / _FILE
        if path.is_file():
            return path
    raise ConfigurationError("The subtitle font is missing: install the package font-roboto.")


def font_environment(directory: Path) -> dict[str, str]:
    """Writes a fontconfig configuration into `directory` and returns the variable that makes ffmpeg use it.

    Fontconfig then depends on nothing else of the machine; the system's fonts serve scripts that Roboto lacks.
    """
    config = directory / _CONFIG_FILE
    config.write_text(_config(font_file().parent, directory / "font-cache"), encoding="utf-8")
    return {"FONTCONFIG_FILE": str(config.resolve())}


def _config(fonts: Path, cache: Path) -> str:
    return (
        '<?xml version="1.0"?>\n'
        '<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n'
        "<fontconfig>\n"
        f"  <dir>{escape(str(fonts))}</dir>\n"
        f"  <dir>{_SYSTEM}</dir>\n"
        f"  <cachedir>{escape(str(cache.resolve()))}</cachedir>\n"
        "</fontconfig>\n"
    )
