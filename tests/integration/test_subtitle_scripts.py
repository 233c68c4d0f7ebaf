"""Subtitles in scripts that the bundled font lacks, with the system's Noto fonts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tabario.clients.ffmpeg import FFmpeg
from tabario.errors import InvalidInput
from tabario.film.burning import Layout, Typesetting
from tabario.film.fonts import Fonts
from tabario.film.timeline import FPS
from tabario.scenes import Word
from tabario.script import tokens
from tabario.styles.subtitles import SUBTITLE_STYLES
from tests.support.films import grab_frame, speak_evenly
from tests.support.making import FRAME, make_film

STYLE = SUBTITLE_STYLES["bold"]
SECONDS = 2.0
SCRIPTS = {
    "ar": "مرحبا يا أصدقائي الأعزاء",
    "he": "בוקר טוב חברים יקרים",
    "hi": "नमस्ते मेरे प्यारे दोस्तों",
    "zh": "今天我们一起去参观那座非常古老而著名的石桥",
    "ja": "今日は友達と一緒に古い石の橋を見に行きました",
    "ko": "오늘 우리는 오래된 다리를",
    "el": "Καλημέρα σε όλους εκεί",
    "ru": "Доброе утро всем друзьям",
}


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    found = Fonts()
    try:
        found.require(SCRIPTS.values(), "zh")
    except InvalidInput as missing:
        pytest.skip(f"the script {missing}")
    return found


async def film_words(directory: Path, fonts: Fonts, language: str, words: list[Word]) -> Path:
    await make_film(directory, duration=SECONDS, words=words, setting=Typesetting(fonts, STYLE, language))
    return directory / "film.mp4"


def seen(film: Path, second: float, *colours: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The box around everything in these colours."""
    frame = grab_frame(FFmpeg.find(), film, round(second * FPS))
    mask = Image.new("L", frame.size, 0)
    for colour in colours:
        alike = Image.new("L", frame.size, 255)
        for band, value in zip(frame.split(), colour, strict=True):
            alike = ImageChops.darker(alike, band.point([255 * (abs(level - value) < 70) for level in range(256)]))
        mask = ImageChops.lighter(mask, alike)
    box = mask.getbbox()
    assert box is not None
    return box


@pytest.mark.parametrize("language", SCRIPTS)
async def test_words_stand_in_the_safe_area_and_follow_the_direction_of_the_script(
    tmp_path: Path, fonts: Fonts, language: str
) -> None:
    words = speak_evenly([token.text for token in tokens(SCRIPTS[language])], SECONDS)
    film = await film_words(tmp_path, fonts, language, words)
    layout = Layout.for_frame(FRAME, STYLE)
    left, top, right, bottom = seen(film, 0.2, STYLE.text, STYLE.spoken)
    assert layout.left - 2 <= left < right <= FRAME.width - layout.right + 2
    assert layout.font_size / 3 < bottom - top < 2.6 * layout.font_size
    assert bottom <= FRAME.height - layout.bottom
    later = SECONDS * (
        0.3 if len(words) > 1 else 0.27
    )  # a text without spaces is highlighted four characters at a time
    first, second = (seen(film, at, STYLE.spoken) for at in (0.05, later))
    assert (second[2] <= first[0]) if language in {"ar", "he"} else (first[2] <= second[0])


def test_each_script_has_its_font(fonts: Fonts) -> None:
    families = {language: fonts.face_for(text.split()[0], language).family for language, text in SCRIPTS.items()}
    assert families == {
        "ar": "Noto Sans Arabic",
        "he": "Noto Sans Hebrew",
        "hi": "Noto Sans Devanagari",
        "zh": "Noto Sans CJK SC",
        "ja": "Noto Sans CJK JP",
        "ko": "Noto Sans CJK KR",
        "el": "Roboto",
        "ru": "Roboto",
    }


def test_a_script_without_a_font_is_refused_and_the_package_named(tmp_path: Path) -> None:
    bare = Fonts([tmp_path])
    bare.require(["Ωμέγα, Привет, naïve 100 % → 🙂"], "en")
    with pytest.raises(InvalidInput, match=r"U\+06[0-9A-F]{2}, arabic.*fonts-noto-core"):
        bare.require(["مرحبا"], "ar")
    with pytest.raises(InvalidInput, match="fonts-noto-cjk"):
        bare.require(["石橋"], "ja")
