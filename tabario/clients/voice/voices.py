"""What the embedded voice can speak, told before a job is accepted."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import espeakng_loader

from tabario.errors import InvalidInput
from tabario.languages import LANGUAGES, strange_letters

_VOICE_ID: Final = re.compile(r"(?P<voice>[a-z0-9-]{2,32})(?:\+(?P<variant>[A-Za-z0-9_-]{1,32}))?", re.ASCII)
_LANGUAGE_LINE: Final = re.compile(r"^language\s+([a-z0-9-]+)", re.MULTILINE | re.ASCII)


def voice_and_variant(voice_id: str) -> tuple[str, str | None] | None:
    """The parts of what eSpeak calls a voice, such as `en-us` or `en-us+f3`; None when it cannot be one."""
    match = _VOICE_ID.fullmatch(voice_id)
    return (match["voice"], match["variant"]) if match else None


def require_voice(voice_id: str) -> None:
    """Raises InvalidInput when the embedded voice does not know this voice."""
    found = voice_and_variant(voice_id)
    if found is None or found[0] not in _voices() or (found[1] is not None and found[1] not in _variants()):
        raise InvalidInput(
            "voice_id", "is not known to the embedded voice; leave it out, or give one like 'en-us' or 'en-us+f3'."
        )


def require_letters(script: str, language: str) -> None:
    """Raises InvalidInput when the embedded voice would spell the script letter by letter."""
    if letters := strange_letters(script, language):
        raise InvalidInput(
            "language",
            f"is {LANGUAGES[language]}, but most of the script is in {letters} letters. Send the script's language.",
        )


@cache
def _voices() -> frozenset[str]:
    """What eSpeak finds a voice by: the languages that the files of its data are for, and the files' names."""
    files = [path for path in (_data() / "lang").rglob("*") if path.is_file()]
    languages = (name for path in files for name in _LANGUAGE_LINE.findall(path.read_text(encoding="utf-8")))
    return frozenset({*languages, *(path.name.lower() for path in files)})


@cache
def _variants() -> frozenset[str]:
    return frozenset(path.name for path in (_data() / "voices" / "!v").iterdir())


def _data() -> Path:
    return Path(espeakng_loader.get_data_path())
