"""The predecessor's voice service: `POST /synthesize/clone_voice`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice.http import VoiceService
from tabario.clients.voice.recording import record
from tabario.clients.voice.speech import Speech


class CloneEngine:
    """Speaks with the one voice that the service has cloned: it takes nothing but the text."""

    name = "clone"

    def __init__(self, service: VoiceService, ffmpeg: FFmpeg) -> None:
        self._service = service
        self._ffmpeg = ffmpeg

    async def speak(
        self,
        text: str,
        *,
        language: str,  # noqa: ARG002 - part of the interface
        voice_id: str | None,  # noqa: ARG002 - part of the interface
        destination: Path,
    ) -> Speech:
        """As `VoiceEngine.speak`, without the times of the words."""
        with TemporaryDirectory(prefix="voice-", dir=destination.parent) as directory:
            part = Path(directory) / "answer"
            await self._service.post("synthesize/clone_voice", {"text": text}, part)
            waveform = await record([part], text=text, ffmpeg=self._ffmpeg, destination=destination)
        return Speech(duration=waveform.duration)
