"""Several voice engines in a row: when one cannot speak, the next one does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tabario.clients.voice.speech import Speech, VoiceEngine
from tabario.errors import RetryLater, VoiceFailed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FallbackEngine:
    """Speaks with `first`, else with the first of the `others` that can. It goes by the name of `first`."""

    first: VoiceEngine
    others: Sequence[VoiceEngine]

    @property
    def name(self) -> str:
        """That of the engine which should speak."""
        return self.first.name

    async def speak(self, text: str, *, language: str, voice_id: str | None, destination: Path) -> Speech:
        """As `VoiceEngine.speak`. A voice_id is one of the first engine; the others speak with their usual voice.

        Raises what the first engine raised when none can speak.
        """
        try:
            return await self.first.speak(text, language=language, voice_id=voice_id, destination=destination)
        except (VoiceFailed, RetryLater) as error:
            failure = error
        for engine in self.others:
            logger.warning("The voice engine %s takes over: %s", engine.name, failure)
            try:
                speech = await engine.speak(text, language=language, voice_id=None, destination=destination)
            except (VoiceFailed, RetryLater) as error:
                logger.warning("The voice engine %s cannot speak either: %s", engine.name, error)
            else:
                return replace(speech, engine=engine.name)
        raise failure
