"""What makes the film: ffmpeg, fonts, the voice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import anyio
import httpx

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice import open_voice
from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.errors import ConfigurationError, TabarioError
from tabario.film.fonts import font_file
from tabario.settings import MediaSettings, VoiceEngineName, VoiceSettings

FILTERS: Final = frozenset(
    (
        *("aformat", "alimiter", "aresample", "ebur128", "volume"),
        *("ass", "extractplanes", "format", "mergeplanes", "scale", "setparams", "xfade", "zoompan"),
    )
)
ENCODERS: Final = frozenset(("libx264", "aac"))
SYSTEM_FONTS: Final = Path("/usr/share/fonts")
WORDS: Final = "Ready."


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


async def check_fonts(*, system: Path = SYSTEM_FONTS) -> list[Finding]:
    """The font of the subtitles, and whether the system has one for Chinese, Japanese and Korean."""
    try:
        font_file()
    except ConfigurationError as error:
        return [fail("fonts", str(error), "Run `pip install font-roboto`, or install requirements.lock again.")]
    wide = await anyio.to_thread.run_sync(lambda: next(system.rglob("*CJK*"), None))
    if wide is None:
        return [
            warn(
                "fonts",
                "No font for Chinese, Japanese and Korean is installed: subtitles in these would be boxes.",
                "Install fonts-noto-cjk on the workers, unless nobody needs these languages.",
            )
        ]
    return [ok("fonts", "The fonts of the subtitles are installed.")]


async def check_voice(voice: VoiceSettings, media: MediaSettings) -> list[Finding]:
    """Lets the embedded voice speak; asks an HTTP voice service for nothing that costs."""
    if voice.engine is VoiceEngineName.ESPEAK:
        return [await _speaks(voice, media)]
    return [await _answers(voice)]


async def _speaks(voice: VoiceSettings, media: MediaSettings) -> Finding:
    try:
        with tempfile.TemporaryDirectory(prefix="tabario-") as directory:
            async with open_voice(voice, FFmpeg.find(media.ffmpeg)) as engine:
                spoken = Path(directory) / "ready.wav"
                await engine.speak(WORDS, language="en", voice_id=None, destination=spoken)
    except TabarioError as error:
        return fail("voice", str(error), "Install espeakng-loader, or set TABARIO_VOICE_ENGINE and TABARIO_VOICE_URL.")
    return ok("voice", "The embedded voice speaks.")


async def _answers(voice: VoiceSettings) -> Finding:
    if not voice.url:
        return fail("voice", f"The voice engine {voice.engine} needs an address.", "Set TABARIO_VOICE_URL.")
    headers = {"Authorization": f"Bearer {voice.api_key.get_secret_value()}"} if voice.api_key else {}
    try:
        async with httpx.AsyncClient(base_url=voice.url, headers=headers, timeout=10) as http:
            answer = await http.get("/v1/models" if voice.engine is VoiceEngineName.OPENAI else "/")
    except (httpx.TransportError, httpx.InvalidURL):
        return fail("voice", "The voice service does not answer.", "Start it, or set TABARIO_VOICE_URL to where it is.")
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return fail("voice", "The voice service refuses our key.", "Set TABARIO_VOICE_API_KEY.")
    if answer.is_server_error:
        return fail("voice", f"The voice service is in trouble (status {answer.status_code}).", "See its log.")
    return ok("voice", "The voice service answers.")
