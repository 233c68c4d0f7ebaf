# ruff: noqa: RUF001 - the scripts are in many languages

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice.espeak import EspeakEngine
from tabario.clients.voice.speech import Speech
from tabario.clients.voice.voices import require_voice
from tabario.errors import InvalidInput, VoiceFailed
from tabario.film.alignment import SHORTEST_PAUSE, align
from tabario.languages import strange_letters
from tabario.script import Break, tokens
from tabario.waveform import SAMPLE_RATE, Waveform

SCRIPT = (
    "Long ago, before the harbour had a name, a keeper lit one lamp above the rocks. Each night the ships counted on"
    " it; in the year 1824, it cost $3.50 to visit. Dr. Smith said: “It’s naïve 🎉 — but light is patient!”"
)


@pytest.fixture(scope="session")
def ffmpeg() -> FFmpeg:
    return FFmpeg.find()


@pytest.fixture
def engine(ffmpeg: FFmpeg) -> EspeakEngine:
    return EspeakEngine(ffmpeg)


def file_names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def speak(
    engine: EspeakEngine, directory: Path, text: str = SCRIPT, *, language: str = "en", voice_id: str | None = None
) -> Speech:
    return await engine.speak(text, language=language, voice_id=voice_id, destination=directory / "v.wav")


async def test_speech_is_a_48_khz_wav_of_a_natural_pace(engine: EspeakEngine, tmp_path: Path) -> None:
    speech = await speak(engine, tmp_path)
    waveform = Waveform.read(tmp_path / "v.wav")
    assert waveform.rate == SAMPLE_RATE
    assert speech.duration == waveform.duration
    assert 110 < len(SCRIPT.split()) / speech.duration * 60 < 190
    assert -25 < waveform.speech_level < -10
    assert file_names(tmp_path) == ["v.wav"]


async def test_every_word_of_the_script_is_timed_in_order(engine: EspeakEngine, tmp_path: Path) -> None:
    speech = await speak(engine, tmp_path)
    assert speech.words is not None
    assert [word.text for word in speech.words] == SCRIPT.split()
    assert all(0 <= word.start < word.end <= speech.duration for word in speech.words)
    assert all(before.end <= after.start for before, after in pairwise(speech.words))


async def test_sentences_end_in_the_recordings_silence(engine: EspeakEngine, tmp_path: Path) -> None:
    speech = await speak(engine, tmp_path)
    pauses = Waveform.read(tmp_path / "v.wav").pauses(shortest=SHORTEST_PAUSE)
    assert speech.words is not None
    ends = [
        word.end
        for word, token in zip(speech.words, tokens(SCRIPT), strict=True)
        if token.break_after is Break.SENTENCE
    ]
    assert len(ends) == 3
    assert all(any(pause.start == pytest.approx(end, abs=0.02) for pause in pauses) for end in ends)


async def test_alignment_without_the_engines_times_comes_close_to_them(engine: EspeakEngine, tmp_path: Path) -> None:
    speech = await speak(engine, tmp_path)
    pauses = Waveform.read(tmp_path / "v.wav").pauses(shortest=SHORTEST_PAUSE)
    assert speech.words is not None
    guessed = align(SCRIPT, speech.duration, pauses=pauses)
    errors = [abs(word.start - guess.start) for word, guess in zip(speech.words, guessed, strict=True)]
    assert sum(errors) / len(errors) < 0.15


async def test_markup_in_the_script_is_spoken_and_not_obeyed(engine: EspeakEngine, tmp_path: Path) -> None:
    speech = await speak(engine, tmp_path, '<break time="30s"/> [[h@l\'oU]] & <voice name="de">end</voice>')
    assert speech.duration < 20


async def test_another_voice_sounds_different(engine: EspeakEngine, tmp_path: Path) -> None:
    await speak(engine, tmp_path, "Hello there.")
    usual = Waveform.read(tmp_path / "v.wav")
    await speak(engine, tmp_path, "Hello there.", voice_id="en-gb-x-rp+f3")
    assert Waveform.read(tmp_path / "v.wav") != usual


@pytest.mark.parametrize("voice_id", ["nobody", "en+nobody", "../../etc/passwd", "en+../../x", "en\n", "+"])
async def test_an_unknown_voice_fails_and_is_named(engine: EspeakEngine, tmp_path: Path, voice_id: str) -> None:
    with pytest.raises(VoiceFailed, match="knows no voice"):
        await speak(engine, tmp_path, voice_id=voice_id)
    assert file_names(tmp_path) == []
    with pytest.raises(InvalidInput, match="is not known to the embedded voice"):
        require_voice(voice_id)


@pytest.mark.parametrize("voice_id", ["en-us", "pt-br", "cmn", "el", "en-gb-x-rp+f3", "de+whisper", "fr-be", "yue"])
async def test_a_voice_that_is_let_in_is_spoken_with(engine: EspeakEngine, tmp_path: Path, voice_id: str) -> None:
    require_voice(voice_id)
    assert (await speak(engine, tmp_path, "Hello there.", voice_id=voice_id)).duration > 0


@pytest.mark.parametrize(
    ("script", "language", "letters"),
    [
        ("Добрый день, друзья мои.", "en", "Cyrillic"),
        ("Добрый день, друзья мои.", "ru", None),
        ("Good morning, my friends.", "ru", None),
        ("早上好，我亲爱的朋友们。", "fr", "Han"),
        ("おはようございます、私の友達。", "ja", None),
        ("Say Добрый день to your oldest friends.", "en", None),
        ("12 345!", "en", None),
    ],
)
def test_a_script_that_would_be_spelled_is_told_by_its_letters(script: str, language: str, letters: str | None) -> None:
    assert strange_letters(script, language) == letters


async def test_a_crash_of_the_engine_fails_the_voiceover_only(ffmpeg: FFmpeg, tmp_path: Path) -> None:
    crashing = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(VoiceFailed, match="stopped unexpectedly"):
        await speak(EspeakEngine(ffmpeg, command=crashing), tmp_path)
    assert file_names(tmp_path) == []
