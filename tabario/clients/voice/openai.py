"""Voice services that speak OpenAI's `POST /v1/audio/speech`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice.http import VoiceService
from tabario.clients.voice.recording import record
from tabario.clients.voice.speech import Speech
from tabario.script import Token, tokens

MAX_INPUT_CHARACTERS: Final = 4096  # of one request, by OpenAI's reference


class OpenAIEngine:
    """Speaks with any server that answers `POST /v1/audio/speech`; longer scripts go in several requests.

    A voice_id is the service's name of a voice. These services know the language from the text.
    """

    name = "openai"

    def __init__(self, service: VoiceService, ffmpeg: FFmpeg, *, model: str, voice: str) -> None:
        self._service = service
        self._ffmpeg = ffmpeg
        self._model = model
        self._voice = voice

    async def speak(
        self,
        text: str,
        *,
        language: str,  # noqa: ARG002 - part of the interface
        voice_id: str | None,
        destination: Path,
    ) -> Speech:
        """As `VoiceEngine.speak`, without the times of the words."""
        with TemporaryDirectory(prefix="voice-", dir=destination.parent) as directory:
            parts = []
            for number, portion in enumerate(portions(text, longest=MAX_INPUT_CHARACTERS)):
                part = Path(directory) / f"{number:03}"
                await self._service.post("v1/audio/speech", self._body(portion, voice_id), part)
                parts.append(part)
            waveform = await record(parts, text=text, ffmpeg=self._ffmpeg, destination=destination)
        return Speech(duration=waveform.duration)

    def _body(self, text: str, voice_id: str | None) -> dict[str, str]:
        return {"model": self._model, "voice": voice_id or self._voice, "input": text, "response_format": "wav"}


def portions(script: str, *, longest: int) -> Iterator[str]:
    """Divides a script into texts of at most `longest` characters, at the strongest break of each one's second half.

    A word that is longer than that is cut.
    """
    words, start = tokens(script), 0
    while len(script) - start > longest:
        stop = _best_break(words, start + longest // 2, start + longest)
        yield script[start:stop].strip()
        start = stop
    yield script[start:].strip()


def _best_break(words: Sequence[Token], earliest: int, latest: int) -> int:
    candidates = [(word.break_after, word.stop) for word in words if earliest < word.stop <= latest]
    return max(candidates)[1] if candidates else latest
