"""Words that are burned in are found on any picture; a picture in the colours of the words is not taken for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.burning import Typesetting, write_ass
from tabario.film.encoders import SOFTWARE
from tabario.film.encoding import STRETCHES, Materials, encode
from tabario.film.fonts import Fonts
from tabario.film.gate import Check, Expectation, examine_film
from tabario.film.loudness import level_voice
from tabario.film.motion import choose_motion
from tabario.film.stretches import Scenery, read_stretches
from tabario.formats import FrameSize
from tabario.settings import Quality
from tabario.styles.subtitles import SUBTITLE_STYLES, SubtitleStyle
from tests.support.films import record_voice, speak_evenly
from tests.support.making import FRAME, ignore

SECONDS = 1.0
WORDS = ["I'll", "go"]
ALIKE = {"bold": "#E8C030", "clean": "#87CEEB", "boxed": "#F0A020", "shout": "#30F020", "single": "#E8C030"}
"""Colours of skies and leaves that are near the highlight's."""


class Fontless(Fonts):
    """Fonts of a machine on which ffmpeg finds none."""

    def environment(self, directory: Path) -> dict[str, str]:
        config = directory / "nothing.conf"
        config.write_text("<?xml version='1.0'?><fontconfig></fontconfig>", encoding="utf-8")
        return {"FONTCONFIG_FILE": str(config)}


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_voice(tmp_path_factory.mktemp("voice") / "voice.wav", SECONDS)


def ground(colour: str, frame: FrameSize) -> str:
    return f"color={colour}:s={frame.width}x{frame.height}:r=30:d={SECONDS}"


async def checked(  # noqa: PLR0913 - what a film is made of
    directory: Path,
    voice: Path,
    frames: str,
    style: SubtitleStyle,
    *,
    burned: bool = True,
    words: list[str] = WORDS,
    fonts: Fonts | None = None,
    frame: FrameSize = FRAME,
) -> Check:
    """The gate's check of a film whose frames are drawn by ffmpeg's own source, with or without its words."""
    ffmpeg, setting = FFmpeg.find(), Typesetting(fonts or Fonts(), style, "en")
    spoken = speak_evenly(words, SECONDS)
    write_ass(spoken, frame, setting, directory / "words.ass")
    write_ass(spoken if burned else [], frame, setting, directory / "burned.ass")
    await level_voice(ffmpeg, voice, directory / "sound.m4a")
    raw, colours = directory / "frames.yuv", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
    await ffmpeg.run(["-f", "lavfi", "-i", frames, "-vf", colours, "-f", "rawvideo", f"file:{raw}"])
    encoder = SOFTWARE[Quality.DRAFT]
    materials = Materials(directory, frame, (), (), choose_motion, "sound.m4a", "burned.ass", setting.fonts, encoder)
    with raw.open("rb") as source:
        await encode(ffmpeg, materials, "film.part", source.fileno(), ignore)
    expected = Expectation(
        frame=frame,
        duration=SECONDS,
        words=spoken,
        scenes=[Scenery(0, SECONDS, frozenset())],
        stretches=read_stretches(directory / STRETCHES, SECONDS),
        subtitles=directory / "words.ass",
        setting=setting,
    )
    examined = await examine_film(ffmpeg, directory / "film.part", expected)
    return next(check for check in examined.report.checks if check.name == "burned in")


def painted(name: str, kind: str) -> str:
    """The colour of a picture."""
    style = SUBTITLE_STYLES[name]
    named = {"spoken": style.spoken, "outline": style.outline, "text": style.text}
    return "0x{:02x}{:02x}{:02x}".format(*named[kind]) if kind in named else {"alike": ALIKE[name]}.get(kind, kind)


@pytest.mark.parametrize("kind", ["white", "black", "alike"])
@pytest.mark.parametrize("name", SUBTITLE_STYLES)
async def test_words_are_found_on_every_picture(tmp_path: Path, voice: Path, name: str, kind: str) -> None:
    check = await checked(tmp_path, voice, ground(painted(name, kind), FRAME), SUBTITLE_STYLES[name])
    assert check.holds, check.found


@pytest.mark.parametrize("kind", ["outline", "alike"])
@pytest.mark.parametrize("name", SUBTITLE_STYLES)
async def test_a_picture_in_the_colour_of_the_words_is_not_taken_for_them(
    tmp_path: Path, voice: Path, name: str, kind: str
) -> None:
    check = await checked(tmp_path, voice, ground(painted(name, kind), FRAME), SUBTITLE_STYLES[name], burned=False)
    assert not check.holds, check.found


@pytest.mark.parametrize("burned", [True, False])
async def test_stripes_in_both_colours_are_not_taken_for_words(tmp_path: Path, voice: Path, *, burned: bool) -> None:
    gold, black = ground("#FFD700", FRAME), ground("black", FRAME)
    stripes = f"{gold}[a];{black}[b];[a][b]blend=all_expr='if(mod(floor(X/6),2),A,B)'"
    check = await checked(tmp_path, voice, stripes, SUBTITLE_STYLES["bold"], burned=burned)
    assert check.holds is burned, check.found


@pytest.mark.parametrize("name", SUBTITLE_STYLES)
@pytest.mark.parametrize("words", [["W" * 40, "so"], ["I"]])
async def test_the_smallest_words_are_found_in_a_picture_that_is_hard_to_encode(
    tmp_path: Path, voice: Path, name: str, words: list[str]
) -> None:
    noise = f"{ground('gray', FRAME)},noise=alls=100:allf=t"
    check = await checked(tmp_path, voice, noise, SUBTITLE_STYLES[name], words=words)
    assert check.holds, check.found


@pytest.mark.parametrize("frame", [FrameSize(1080, 1920), FrameSize(854, 480)])
async def test_words_are_found_in_every_size(tmp_path: Path, voice: Path, frame: FrameSize) -> None:
    check = await checked(tmp_path, voice, ground("white", frame), SUBTITLE_STYLES["clean"], frame=frame)
    assert check.holds, check.found


async def test_a_film_made_without_a_font_is_refused(tmp_path: Path, voice: Path) -> None:
    bold = SUBTITLE_STYLES["bold"]
    check = await checked(tmp_path, voice, ground("#FFD700", FRAME), bold, fonts=Fontless())
    assert not check.holds, check.found
