"""`tabario doctor` on what makes the film: ffmpeg, fonts, the voices."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final

import pytest
from fontTools import unicodedata

from tabario.clients.ffmpeg import FFmpeg
from tabario.doctor.film import FILTERS, LETTERS, check_ffmpeg, check_fonts, check_voice
from tabario.doctor.findings import Finding, Verdict
from tabario.languages import SCRIPTS
from tabario.settings import MediaSettings, VoiceSettings
from tests.support.films import record_voice
from tests.support.findings import faults, verdicts
from tests.support.making import DURATION, make_film
from tests.support.servers import free_port
from tests.support.voices import Answer, voice_service_running

CJK_FONT: Final = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc")
HEBREW_FONT: Final = Path("/usr/share/fonts/truetype/noto/NotoSansHebrew-Bold.ttf")
NOTO: Final = pytest.mark.skipif(
    not (CJK_FONT.exists() and HEBREW_FONT.exists()), reason="install fonts-noto-core and fonts-noto-cjk"
)


# --- the voices ---


@pytest.mark.parametrize("fields", [{"url": f"http://127.0.0.1:{free_port()}"}, {"url": None}])
async def test_sabotage_the_voice_service_is_away(fields: dict[str, str | None]) -> None:
    voice = VoiceSettings.model_validate({"engine": "openai", "api_key": "sk-not-real", **fields})
    assert set(faults(await check_voice(voice, MediaSettings()))) == {"voice"}


async def test_the_embedded_voice_speaks() -> None:
    assert verdicts(await check_voice(VoiceSettings(), MediaSettings())) == {"voice": Verdict.OK}


@pytest.mark.parametrize("engine", ["openai", "clone"])
async def test_an_address_at_which_no_voice_service_answers_is_not_well(engine: str) -> None:
    async with voice_service_running(Answer()) as service:
        right = VoiceSettings.model_validate({"engine": engine, "url": service.url})
        wrong = VoiceSettings.model_validate({"engine": engine, "url": f"{service.url}/voices"})
        assert verdicts(await check_voice(right, MediaSettings())) == {"voice": Verdict.OK}
        found = await check_voice(wrong, MediaSettings())
    assert verdicts(found) == {"voice": Verdict.WARN}
    assert found[0].mend


@pytest.mark.parametrize("behind", ["/v1", "/v1/", "/"])
async def test_an_address_may_end_as_openai_gives_it(behind: str) -> None:
    async with voice_service_running(Answer()) as service:
        voice = VoiceSettings.model_validate({"engine": "openai", "url": f"{service.url}{behind}"})
        assert verdicts(await check_voice(voice, MediaSettings())) == {"voice": Verdict.OK}


async def test_sabotage_a_fallback_is_away_while_the_first_voice_is_well() -> None:
    async with voice_service_running(Answer()) as service:
        fields = {"engine": "openai", "url": service.url, "fallbacks": "clone,espeak"}
        both = VoiceSettings.model_validate(fields)
        assert verdicts(await check_voice(both, MediaSettings())) == {
            "voice": Verdict.OK,
            "voice-clone": Verdict.OK,
            "voice-espeak": Verdict.OK,
        }
        silent = MediaSettings(ffmpeg=Path("/nowhere/ffmpeg"))
        assert set(faults(await check_voice(both, silent))) == {"voice-espeak"}
    nowhere = VoiceSettings.model_validate({"fallbacks": "openai"})
    assert set(faults(await check_voice(nowhere, MediaSettings()))) == {"voice-openai"}


# --- ffmpeg ---


async def test_sabotage_an_ffmpeg_without_subtitles(tmp_path: Path) -> None:
    poor = script(tmp_path, "case \"$*\" in *-filters*) echo ' .. scale V->V';; *) echo ' V libx264 x';; esac")
    found = faults(await check_ffmpeg(MediaSettings(ffmpeg=poor)))
    assert set(found) == {"ffmpeg"}
    assert " aac, " in found["ffmpeg"]
    assert " ass, " in found["ffmpeg"]
    assert "scale" not in found["ffmpeg"]


async def test_the_bundled_ffmpeg_has_everything() -> None:
    assert verdicts(await check_ffmpeg(MediaSettings())) == {"ffmpeg": Verdict.OK}


async def test_the_doctor_asks_for_the_filters_that_films_are_made_with(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    asked.mkdir()
    real = FFmpeg.find().binary
    spy = script(tmp_path, f'printf "%s\\0" "$@" >{asked}/$$; exec {real} "$@"')
    music = record_voice(tmp_path / "music.wav", 2.0, amplitude=0.05)
    await make_film(tmp_path, ffmpeg=FFmpeg(spy), music=music, duration=DURATION)

    commands = [path.read_text().split("\0") for path in asked.iterdir()]
    graphs = [
        command[place + 1]
        for command in commands
        for place, word in enumerate(command)
        if word in {"-filter_complex", "-vf", "-af"}
    ]
    assert {name for graph in graphs for name in filters_of(graph)} == FILTERS


def script(directory: Path, line: str) -> Path:
    """An ffmpeg that is a shell script."""
    path = directory / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def filters_of(graph: str) -> set[str]:
    """The names of a graph's filters: each begins it or stands behind a comma, a semicolon or its inputs."""
    unquoted = re.sub(r"'[^']*'", "", graph)
    return {re.sub(r"\[[^\]]*\]", "", part).partition("=")[0] for part in re.split("[,;]", unquoted)}


# --- fonts ---


def test_a_letter_is_known_of_every_script_that_jobs_are_written_in() -> None:
    assert LETTERS.keys() == SCRIPTS
    assert {script: unicodedata.script(letter) for script, letter in LETTERS.items()} == {
        script: script for script in LETTERS
    }


def mends(findings: list[Finding]) -> dict[str, str]:
    """What each finding says, by the package that it asks for."""
    return {finding.mend.split()[1]: finding.message for finding in findings}


async def test_sabotage_no_font_for_half_of_the_world(tmp_path: Path) -> None:
    (tmp_path / "NotoSansCJK-Regular.ttc").touch()  # another weight than the subtitles'
    found = await check_fonts(directories=[tmp_path])
    assert {finding.verdict for finding in found} == {Verdict.WARN}
    missing = mends(found)
    assert set(missing) == {"fonts-noto-core", "fonts-noto-cjk"}
    assert "Hangul, Han, Hiragana, Katakana" in missing["fonts-noto-cjk"]
    assert "Arabic, Armenian, Bengali, Devanagari, Georgian, Hebrew, Tamil, Telugu" in missing["fonts-noto-core"]


@NOTO
async def test_each_script_is_looked_for_by_itself(tmp_path: Path) -> None:
    for font in (CJK_FONT, HEBREW_FONT):
        (tmp_path / font.name).symlink_to(font)
    missing = mends(await check_fonts(directories=[tmp_path]))
    assert set(missing) == {"fonts-noto-core"}
    assert "Hebrew" not in missing["fonts-noto-core"]
    assert "Tamil" in missing["fonts-noto-core"]


@NOTO
async def test_the_two_packages_have_a_font_for_every_script() -> None:
    assert verdicts(await check_fonts()) == {"fonts": Verdict.OK}
