"""What a film needs besides the caller's words: fonts, music, a voice. A job that lacks one is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tabario.clients.voice.voices import require_letters, require_voice
from tabario.film.fonts import Fonts
from tabario.film.music import MusicShelf
from tabario.film.subtitles import plain_text
from tabario.jobs import JobSpec
from tabario.settings import MediaSettings, VoiceEngineName, VoiceSettings
from tabario.styles.subtitles import SUBTITLE_STYLES


@dataclass(frozen=True, slots=True)
class FilmKit:
    """The fonts and the music of this machine, and the engine that speaks."""

    fonts: Fonts
    music: MusicShelf
    engine: VoiceEngineName

    @classmethod
    def from_settings(cls, media: MediaSettings, voice: VoiceSettings) -> Self:
        """The system's fonts, the operator's music, and the voice engine that is asked first."""
        return cls(Fonts(), MusicShelf(media.music), voice.engine)

    def require(self, spec: JobSpec) -> None:
        """Raises InvalidInput when the script cannot be spoken or shown, or the music is not there. May read files.

        What a voice engine elsewhere can speak only that engine knows.
        """
        if self.engine is VoiceEngineName.ESPEAK:
            require_letters(spec.script, spec.language)
            if spec.voice_id is not None:
                require_voice(spec.voice_id)
        script = plain_text(spec.script)
        if SUBTITLE_STYLES[spec.subtitle_style].capitals:
            script = script.upper()
        self.fonts.require([script], spec.language)
        self.fonts.require_one_script_a_word(script.split(), spec.language)
        if spec.music is not None:
            self.music.find(spec.music)
