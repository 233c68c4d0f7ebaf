"""The embedded voice: eSpeak NG, complete and offline, in a process of its own."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice.marks import time_words
from tabario.clients.voice.recording import record
from tabario.clients.voice.speech import Speech
from tabario.clients.voice.voices import voice_and_variant
from tabario.errors import VoiceFailed

logger = logging.getLogger(__name__)

_COMMAND: Final = (sys.executable, "-m", "tabario.embedded.espeak")
_VOICES: Final = {"en": "en-us", "pt": "pt-br", "zh": "cmn"}  # where eSpeak has another name, or accent, for it
_VARIANT: Final = "max"  # a fuller voice than the plain one
_SPEED: Final = 160  # words per minute
_PITCH: Final = 42  # of 0 to 99
_PITCH_RANGE: Final = 65  # of 0 to 99; liveliness
_SECONDS_TO_START: Final = 30.0  # on a machine that is busy painting
_SECONDS_PER_CHARACTER: Final = 0.01  # ten times what it takes
_SHORTEST_PAUSE: Final = 0.05  # seconds that set a word's end apart from the next word


@dataclass(frozen=True)
class EspeakEngine:
    """Speaks with eSpeak NG. A voice_id is what eSpeak calls a voice, such as `en-us` or `en-us+f3`.

    `command` starts the process that `tabario.embedded.espeak` describes.
    """

    ffmpeg: FFmpeg
    command: Sequence[str] = _COMMAND
    name: str = "espeak"

    async def speak(self, text: str, *, language: str, voice_id: str | None, destination: Path) -> Speech:
        """As `VoiceEngine.speak`; the words are always timed."""
        voice, variant = _choose_voice(language, voice_id)
        with TemporaryDirectory(prefix="voice-", dir=destination.parent) as directory:
            audio = Path(directory) / "speech.wav"
            answer = await self._ask(
                {
                    "voice": voice,
                    "variant": variant,
                    "speed": _SPEED,
                    "pitch": _PITCH,
                    "pitch_range": _PITCH_RANGE,
                    "text": text,
                    "audio": str(audio),
                }
            )
            waveform = await record([audio], text=text, ffmpeg=self.ffmpeg, destination=destination)
        marks = [(offset, second) for offset, second in answer["marks"]]
        words = time_words(text, marks, waveform.duration, waveform.pauses(shortest=_SHORTEST_PAUSE))
        return Speech(duration=waveform.duration, words=words)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with anyio.fail_after(_SECONDS_TO_START + len(request["text"]) * _SECONDS_PER_CHARACTER):
                process = await anyio.run_process(self.command, input=json.dumps(request).encode(), check=False)
        except TimeoutError:
            raise VoiceFailed("The embedded voice took too long.", reason="timeout") from None
        if process.returncode != 0:
            logger.error("the embedded voice ended with %s and said: %s", process.returncode, process.stderr[-2000:])
            raise VoiceFailed("The embedded voice stopped unexpectedly while speaking the script.")
        answer: dict[str, Any] = json.loads(process.stdout)
        if "unknown_voice" in answer:
            raise _unknown_voice(answer["unknown_voice"])
        return answer


def _choose_voice(language: str, voice_id: str | None) -> tuple[str, str]:
    if voice_id is None:
        return _VOICES.get(language, language), _VARIANT
    found = voice_and_variant(voice_id)
    if found is None:
        raise _unknown_voice(voice_id)
    return found[0], found[1] or _VARIANT


def _unknown_voice(name: str) -> VoiceFailed:
    return VoiceFailed(f"The embedded voice knows no voice {name!r}; leave voice_id out, or give one like 'en-us+f3'.")
