"""Languages that a script may be written in: all are spoken by the embedded voice.

Subtitles of those in Latin, Cyrillic and Greek letters are set in the bundled font, the others in the system's Noto.
Keys are the codes that callers send (ISO 639-1); values are the names people read.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from fontTools import unicodedata

LANGUAGES: Final[dict[str, str]] = {
    "af": "Afrikaans",
    "ar": "Arabic",
    "az": "Azerbaijani",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bs": "Bosnian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "ga": "Irish",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "mr": "Marathi",
    "ms": "Malay",
    "mt": "Maltese",
    "nb": "Norwegian",
    "ne": "Nepali",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sq": "Albanian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}

_LATIN: Final = "Latn"
_OTHER_LETTERS: Final[dict[str, frozenset[str]]] = {
    language: frozenset(scripts.split())
    for languages, scripts in {
        "ar fa ur": "Arab",
        "az": "Arab Cyrl",
        "be bg mk ru uk": "Cyrl",
        "bn": "Beng",
        "bs sr": "Cyrl",
        "el": "Grek",
        "he": "Hebr",
        "hi mr ne": "Deva",
        "hy": "Armn",
        "ja": "Hani Hira Kana",
        "ka": "Geor",
        "kk": "Arab Cyrl",
        "ko": "Hang Hani",
        "ms": "Arab",
        "ta": "Taml",
        "te": "Telu",
        "zh": "Bopo Hani",
    }.items()
    for language in languages.split()
}
"""ISO 15924 codes of the letters that a language is written in. Latin ones are read in every language."""

SCRIPTS: Final = frozenset({_LATIN}.union(*_OTHER_LETTERS.values()))
"""The codes of all of them."""


def strange_letters(text: str, language: str) -> str | None:
    """The name of the letters that most of a text is in, if they are none of the language's.

    A voice would spell such a text letter by letter.
    """
    scripts = Counter(unicodedata.script(char) for char in text if unicodedata.category(char).startswith("L"))
    if not scripts:
        return None
    [(most, _)] = scripts.most_common(1)
    if most in {_LATIN, "Zyyy", "Zinh", *_OTHER_LETTERS.get(language, ())}:
        return None
    return str(unicodedata.script_name(most))
