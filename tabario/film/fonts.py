"""The fonts of subtitles: Roboto, which comes with the project, and the system's Noto for other scripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from fontTools.ttLib import TTFont

from tabario.errors import ConfigurationError, InvalidInput

SYSTEM_DIRECTORIES: Final = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))

_ROBOTO: Final = "Roboto-Bold.ttf"
_CONFIG_FILE: Final = "fonts.conf"
_CJK_FILE: Final = "NotoSansCJK-Bold.ttc"
_CJK_FACES: Final = {"ja": 0, "ko": 1, "zh": 2}  # the same character is drawn in another way in each
_CJK_SCRIPTS: Final = frozenset(
    {"BOPOMOFO", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"}
)
_JAPANESE: Final = frozenset({"HIRAGANA", "KATAKANA"})


@dataclass(frozen=True, slots=True)
class Face:
    """A bold font: the name that ffmpeg finds it by, its file, and which characters it has.

    `height` is that of its tallest line in ems: subtitles are sized by lines, not by letters.
    """

    family: str
    path: Path
    index: int
    height: float
    characters: frozenset[int] = field(repr=False)

    @classmethod
    def read(cls, path: Path, index: int = 0) -> Face:
        """Reads a font file; `index` chooses from a collection."""
        with TTFont(path, fontNumber=index, lazy=True) as font:
            lines, units = font["OS/2"], font["head"].unitsPerEm
            return cls(
                family=font["name"].getBestFamilyName() or path.stem,
                path=path,
                index=index,
                height=(lines.usWinAscent + lines.usWinDescent) / units,
                characters=frozenset(font.getBestCmap()),
            )

    def lacks(self, text: str) -> list[str]:
        """The letters, marks and digits of a text that the font does not have. Symbols are left out of account."""
        return [char for char in text if unicodedata.category(char)[0] in "LMN" and ord(char) not in self.characters]


class Fonts:
    """Roboto, and what `directories` hold for other scripts. Fonts are read when they are first needed."""

    def __init__(self, directories: Iterable[Path] = SYSTEM_DIRECTORIES) -> None:
        self._directories = tuple(directories)
        self._faces: dict[tuple[str, int], Face] = {}
        self.latin = Face.read(font_file())

    def face_for(self, word: str, language: str) -> Face:
        """The font for a word: Roboto, or that of its first character which Roboto lacks. Raises InvalidInput."""
        missing = self.latin.lacks(word)
        return self._face_of(missing[0], language) if missing else self.latin

    def require(self, words: Iterable[str], language: str) -> None:
        """Raises InvalidInput, naming a character and what to install, when not every letter and digit can be shown."""
        for char in sorted({char for word in words for char in self.latin.lacks(word)}):
            self._face_of(char, language)

    def require_one_script_a_word(self, words: Iterable[str], language: str) -> None:
        """Raises InvalidInput, naming a word whose letters no single font has besides Roboto."""
        for word in words:
            if set(self.face_for(word, language).lacks(word)) & set(self.latin.lacks(word)):
                raise InvalidInput(
                    "script", f"has a word with letters of several scripts, {word!r}. Put a space between them."
                )

    def _face_of(self, char: str, language: str) -> Face:
        script, *_ = unicodedata.name(char, "UNKNOWN").replace("-", " ").split()
        if script in _CJK_SCRIPTS:
            # A Han character alone does not tell its language.
            index = _CJK_FACES.get("ja" if script in _JAPANESE else language, _CJK_FACES["zh"])
            face, package = self._find(_CJK_FILE, index), "fonts-noto-cjk"
        else:
            face, package = self._find(f"NotoSans{script.title()}-Bold.ttf"), "fonts-noto-core"
        if face is None or face.lacks(char):
            raise InvalidInput(
                "script",
                f"has characters that no installed subtitle font can show, for instance {char!r} (U+{ord(char):04X}, "
                f"{script.lower()}). Leave them out, or have {package} installed where films are made.",
            )
        return face

    def environment(self, directory: Path) -> dict[str, str]:
        """Writes a fontconfig configuration into `directory` and returns the variable that makes ffmpeg use it.

        It names the fonts that were needed so far and nothing else of the machine: to look through all of the system's
        fonts takes seconds.
        """
        chosen = directory / "fonts"
        chosen.mkdir(exist_ok=True)
        for path in {face.path.resolve() for face in (self.latin, *self._faces.values())}:
            link = chosen / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        config = directory / _CONFIG_FILE
        config.write_text(_config(chosen.resolve(), directory / "font-cache"), encoding="utf-8")
        return {"FONTCONFIG_FILE": str(config.resolve())}

    def _find(self, name: str, index: int = 0) -> Face | None:
        if (name, index) not in self._faces:
            found = next((path for directory in self._directories for path in sorted(directory.rglob(name))), None)
            if found is None:
                return None
            self._faces[name, index] = Face.read(found, index)
        return self._faces[name, index]


def font_file() -> Path:
    """The bold Roboto. Raises ConfigurationError when it is missing: ffmpeg would burn in nothing and not say so."""
    package = find_spec("font_roboto")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "files" / _ROBOTO
        if path.is_file():
            return path
    raise ConfigurationError("The subtitle font is missing: install the package font-roboto.")


def _config(fonts: Path, cache: Path) -> str:
    return (
        '<?xml version="1.0"?>\n'
        '<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n'
        "<fontconfig>\n"
        f"  <dir>{escape(str(fonts))}</dir>\n"
        f"  <cachedir>{escape(str(cache.resolve()))}</cachedir>\n"
        "</fontconfig>\n"
    )
