"""What films are made with besides the caller's words: fonts and music. A job that lacks one is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tabario.film.fonts import Fonts
from tabario.film.music import MusicShelf
from tabario.film.subtitles import plain_text
from tabario.jobs import JobSpec
from tabario.settings import MediaSettings
from tabario.styles.subtitles import SUBTITLE_STYLES


@dataclass(frozen=True, slots=True)
class FilmKit:
    """The fonts and the music of this machine."""

    fonts: Fonts
    music: MusicShelf

    @classmethod
    def from_settings(cls, settings: MediaSettings) -> Self:
        """The system's fonts and the operator's music."""
        return cls(Fonts(), MusicShelf(settings.music))

    def require(self, spec: JobSpec) -> None:
        """Raises InvalidInput when the script cannot be shown or the music is not there. May read font files."""
        script = plain_text(spec.script)
        if SUBTITLE_STYLES[spec.subtitle_style].capitals:
            script = script.upper()
        self.fonts.require([script], spec.language)
        self.fonts.require_one_script_a_word(script.split(), spec.language)
        if spec.music is not None:
            self.music.find(spec.music)
