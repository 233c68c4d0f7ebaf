"""Voice engines behind one interface."""

from tabario.clients.voice.engines import open_voice
from tabario.clients.voice.speech import Speech, VoiceEngine

__all__ = ["Speech", "VoiceEngine", "open_voice"]
