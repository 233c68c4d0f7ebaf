"""What a voice engine is, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tabario.scenes import Word


@dataclass(frozen=True)
class Speech:
    """A spoken text: its length in seconds, and when each word is said where the engine knows it.

    `engine` names the one that spoke when it was not the one that was asked.
    """

    duration: float
    words: tuple[Word, ...] | None = None
    engine: str | None = None


class VoiceEngine(Protocol):
    """Turns text into speech."""

    @property
    def name(self) -> str:
        """Short name for logs, records and content keys."""

    async def speak(self, text: str, *, language: str, voice_id: str | None, destination: Path) -> Speech:
        """Writes the spoken text to `destination`: a WAV, 48 kHz, mono, 16 bits, complete or not there at all.

        `words`, if given, are those of `tabario.script.tokens(text)`, in order.
        Raises VoiceFailed, or RetryLater when the engine cannot serve now.
        """
