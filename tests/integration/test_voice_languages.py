# ruff: noqa: RUF001 - the scripts are in many languages

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice.espeak import EspeakEngine
from tabario.jobs import MAX_SCRIPT_CHARACTERS
from tabario.languages import LANGUAGES
from tabario.script import tokens

GREETINGS = {
    "ar": "صباح الخير يا أصدقائي الأعزاء.",
    "bn": "শুভ সকাল, আমার বন্ধুরা।",
    "fa": "صبح بخیر دوستان عزیز من.",
    "he": "בוקר טוב, חברים יקרים שלי.",
    "hi": "नमस्ते, मेरे प्यारे दोस्तों।",
    "hy": "Բարի լույս, իմ ընկերներ։",
    "ja": "おはようございます、私の友達。",
    "ka": "დილა მშვიდობისა, მეგობრებო.",
    "ko": "좋은 아침입니다, 친구 여러분.",
    "mr": "नमस्कार, माझ्या मित्रांनो.",
    "ne": "नमस्ते, मेरा साथीहरू।",
    "ta": "காலை வணக்கம் நண்பர்களே.",
    "te": "శుభోదయం నా మిత్రులారా.",
    "ur": "صبح بخیر میرے دوستو۔",
    "zh": "早上好，我亲爱的朋友们。",
    "az": "Sabahınız xeyir, əziz dostlar.",
    "be": "Добры дзень, мае сябры.",
    "bg": "Добър ден, приятели мои.",
    "el": "Καλημέρα, φίλοι μου.",
    "kk": "Қайырлы күн, достарым.",
    "mk": "Добар ден, пријатели мои.",
    "ru": "Добрый день, друзья мои.",
    "sr": "Добар дан, пријатељи моји.",
    "uk": "Добрий день, мої друзі.",
    "vi": "Xin chào các bạn của tôi.",
}


@pytest.fixture(scope="module")
def engine() -> EspeakEngine:
    return EspeakEngine(FFmpeg.find())


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_listed_language_is_spoken(engine: EspeakEngine, tmp_path: Path, language: str) -> None:
    text = GREETINGS.get(language, "Banana, radio, 25 metro.")
    speech = await engine.speak(text, language=language, voice_id=None, destination=tmp_path / "v.wav")
    assert speech.words is not None
    assert [word.text for word in speech.words] == [token.text for token in tokens(text)]
    assert 1.0 < speech.duration < 6.0


async def test_a_script_of_the_greatest_length_is_spoken(engine: EspeakEngine, tmp_path: Path) -> None:
    script = ("The lamp still burns, and nobody knows why. " * 250)[:MAX_SCRIPT_CHARACTERS].strip()
    speech = await engine.speak(script, language="en", voice_id=None, destination=tmp_path / "v.wav")
    assert speech.duration > 400
    assert speech.words is not None
    assert all(before.end <= after.start for before, after in pairwise(speech.words))
