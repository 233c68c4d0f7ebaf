"""What makes the film: ffmpeg, fonts, the voice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import anyio
import httpx
from fontTools import unicodedata

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice import open_voice
from tabario.clients.voice.engines import open_client
from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.errors import ConfigurationError, InvalidInput, TabarioError
from tabario.film.fonts import SYSTEM_DIRECTORIES, Fonts
from tabario.settings import MediaSettings, VoiceEngineName, VoiceSettings

FILTERS: Final = frozenset(
    (
        *("afade", "aformat", "alimiter", "amix", "anull", "aresample", "asplit", "atrim", "ebur128"),
        *("sidechaincompress", "volume"),
        *("ass", "blackdetect", "color", "concat", "crop", "extractplanes", "format", "freezedetect", "hstack", "loop"),
        *("mergeplanes", "metadata", "nullsink", "scale", "setparams", "setpts", "split", "trim", "xfade", "zoompan"),
    )
)
"""Every filter that the graphs of a film with music name."""
ENCODERS: Final = frozenset(("libx264", "aac"))
_CJK: Final = frozenset({"Bopo", "Hang", "Hani", "Hira", "Kana"})
LETTERS: Final[dict[str, str]] = {
    "Arab": "\N{ARABIC LETTER BEH}",
    "Armn": "\N{ARMENIAN SMALL LETTER AYB}",
    "Beng": "\N{BENGALI LETTER KA}",
    "Bopo": "\N{BOPOMOFO LETTER B}",
    "Cyrl": "\N{CYRILLIC SMALL LETTER ZHE}",
    "Deva": "\N{DEVANAGARI LETTER KA}",
    "Geor": "\N{GEORGIAN LETTER AN}",
    "Grek": "\N{GREEK SMALL LETTER ALPHA}",
    "Hang": "\N{HANGUL SYLLABLE GA}",
    "Hani": "\N{CJK UNIFIED IDEOGRAPH-6C34}",
    "Hebr": "\N{HEBREW LETTER ALEF}",
    "Hira": "\N{HIRAGANA LETTER A}",
    "Kana": "\N{KATAKANA LETTER A}",
    "Latn": "\N{LATIN SMALL LETTER A}",
    "Taml": "\N{TAMIL LETTER KA}",
    "Telu": "\N{TELUGU LETTER KA}",
}
"""A letter of each script that jobs may be written in."""
WORDS: Final = "Ready."
SECONDS: Final = 10.0

_ASKED: Final = {VoiceEngineName.OPENAI: "v1/models", VoiceEngineName.CLONE: "synthesize/clone_voice"}
"""What costs nothing to ask: the list of models; of a path that takes POST alone, whether it is there."""


async def check_ffmpeg(settings: MediaSettings) -> list[Finding]:
    """The binary, its filters and encoders."""
    binary = FFmpeg.find(settings.ffmpeg).binary
    lacks = sorted((FILTERS - await _listed(binary, "-filters")) | (ENCODERS - await _listed(binary, "-encoders")))
    if lacks:
        return [
            fail(
                "ffmpeg",
                f"This ffmpeg lacks {', '.join(lacks)}.",
                "Unset TABARIO_MEDIA_FFMPEG to use the bundled one, or name one with libx264 and libass.",
            )
        ]
    return [ok("ffmpeg", "ffmpeg has every filter and encoder that a film needs.")]


async def _listed(binary: Path, what: str) -> set[str]:
    """The second column of a list that ffmpeg prints."""
    done = await anyio.run_process([str(binary), "-hide_banner", what], check=False)
    lines = (line.split() for line in done.stdout.decode(errors="replace").splitlines())
    return {columns[1] for columns in lines if len(columns) > 1}


async def check_fonts(*, directories: Iterable[Path] = SYSTEM_DIRECTORIES) -> list[Finding]:
    """The font of the subtitles, and which scripts have none: a job in one of those is refused."""
    try:
        fonts = Fonts(directories)
    except ConfigurationError as error:
        return [fail("fonts", str(error), "Run `pip install font-roboto`, or install requirements.lock again.")]
    missing = await anyio.to_thread.run_sync(_scripts_without_font, fonts)
    if not missing:
        return [ok("fonts", "The fonts of the subtitles are installed, for every script that a job may be in.")]
    return [
        warn(
            "fonts",
            f"No font for the letters of {', '.join(scripts)}: jobs in these are refused.",
            f"Install {package} wherever the front door and the workers run, unless nobody needs these.",
        )
        for package, scripts in missing.items()
    ]


def _scripts_without_font(fonts: Fonts) -> dict[str, list[str]]:
    """Names of scripts, by the Debian package that has their font."""
    missing: dict[str, list[str]] = {}
    for script, letter in LETTERS.items():
        try:
            fonts.require([letter], {"Hang": "ko", "Hira": "ja", "Kana": "ja"}.get(script, "zh"))
        except InvalidInput:
            package = "fonts-noto-cjk" if script in _CJK else "fonts-noto-core"
            missing.setdefault(package, []).append(str(unicodedata.script_name(script)))
    return missing


async def check_voice(voice: VoiceSettings, media: MediaSettings) -> list[Finding]:
    """Each engine that may have to speak: lets the embedded one do so, asks an HTTP service for nothing that costs."""
    findings = []
    for name in dict.fromkeys((voice.engine, *voice.fallbacks)):
        check = "voice" if name is voice.engine else f"voice-{name}"
        embedded = name is VoiceEngineName.ESPEAK
        findings.append(await (_speaks(check, voice, media) if embedded else _answers(check, name, voice)))
    return findings


async def _speaks(check: str, voice: VoiceSettings, media: MediaSettings) -> Finding:
    alone = voice.model_copy(update={"engine": VoiceEngineName.ESPEAK, "fallbacks": ()})
    try:
        with tempfile.TemporaryDirectory(prefix="tabario-") as directory:
            async with open_voice(alone, FFmpeg.find(media.ffmpeg)) as engine:
                spoken = Path(directory) / "ready.wav"
                await engine.speak(WORDS, language="en", voice_id=None, destination=spoken)
    except TabarioError as error:
        return fail(check, str(error), "Install espeakng-loader, or set TABARIO_VOICE_ENGINE and TABARIO_VOICE_URL.")
    return ok(check, "The embedded voice speaks.")


async def _answers(check: str, name: VoiceEngineName, voice: VoiceSettings) -> Finding:
    try:
        async with open_client(name, voice) as http:
            path = _ASKED[name]
            answer = await http.get(path, timeout=SECONDS)
    except ConfigurationError as error:
        return fail(check, str(error), "Set TABARIO_VOICE_URL, or take the engine out of TABARIO_VOICE_FALLBACKS.")
    except (httpx.TransportError, httpx.InvalidURL):
        return fail(check, "The voice service does not answer.", "Start it, or set TABARIO_VOICE_URL to where it is.")
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return fail(check, "The voice service refuses our key.", "Set TABARIO_VOICE_API_KEY.")
    if answer.is_server_error:
        return fail(check, f"The voice service is in trouble (status {answer.status_code}).", "See its log.")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return warn(
            check,
            f"Somebody answers at TABARIO_VOICE_URL, but has no /{path}: it may be no voice service.",
            "See whether the address is the service's own, with nothing behind it but /v1.",
        )
    return ok(check, "The voice service answers.")
