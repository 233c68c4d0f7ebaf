from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice import Speech, open_voice
from tabario.clients.voice.http import ATTEMPTS, VoiceService
from tabario.clients.voice.openai import MAX_INPUT_CHARACTERS, portions
from tabario.errors import ConfigurationError, RetryLater, VoiceFailed
from tabario.settings import VoiceEngineName, VoiceSettings
from tabario.waveform import SAMPLE_RATE, Waveform
from tests.support.servers import free_port
from tests.support.sounds import sound
from tests.support.voices import Answer, voice_service_running

TEXT = "The lamp still burns."


@pytest.fixture(scope="session")
def ffmpeg() -> FFmpeg:
    return FFmpeg.find()


@pytest.fixture
def speech_file(tmp_path: Path) -> bytes:
    """Two seconds of sound in a WAV of another rate, as services send it."""
    return wav(tmp_path, Waveform(sound(2.0).samples[::2], SAMPLE_RATE // 2))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the voiceover goes; its directory is otherwise empty."""
    directory = tmp_path / "work"
    directory.mkdir()
    return directory / "voiceover.wav"


def wav(directory: Path, waveform: Waveform) -> bytes:
    path = directory / "answer.wav"
    waveform.write(path)
    return path.read_bytes()


def file_names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def settings(url: str | None, engine: VoiceEngineName = VoiceEngineName.OPENAI, timeout: float = 20) -> VoiceSettings:
    return VoiceSettings(
        engine=engine, url=url, api_key=SecretStr("sesame"), model="a-model", voice="a-voice", timeout=timeout
    )


@pytest.mark.parametrize("behind", ["", "/", "/v1", "/v1/"])
async def test_the_address_may_end_as_openai_gives_it(
    ffmpeg: FFmpeg, speech_file: bytes, place: Path, behind: str
) -> None:
    async with voice_service_running(Answer(speech_file)) as service:
        await speak(settings(f"{service.url}{behind}"), ffmpeg, place)
    assert [request.path for request in service.received] == ["/v1/audio/speech"]


async def test_the_next_engine_speaks_when_the_first_is_down(ffmpeg: FFmpeg, place: Path) -> None:
    chosen = VoiceSettings(
        engine=VoiceEngineName.OPENAI,
        fallbacks=(VoiceEngineName.CLONE, VoiceEngineName.ESPEAK),
        url=f"http://127.0.0.1:{free_port()}",
    )
    speech = await speak(chosen, ffmpeg, place, voice_id="a voice of the first engine")
    assert speech.engine == "espeak"
    assert speech.words is not None
    assert file_names(place.parent) == ["voiceover.wav"]


async def test_an_engine_that_speaks_is_not_replaced(ffmpeg: FFmpeg, place: Path, speech_file: bytes) -> None:
    async with voice_service_running(Answer(speech_file)) as service:
        chosen = VoiceSettings(
            engine=VoiceEngineName.OPENAI, fallbacks=(VoiceEngineName.ESPEAK,), url=service.url, voice="a-voice"
        )
        speech = await speak(chosen, ffmpeg, place)
    assert (speech.engine, speech.words) == (None, None)


async def test_the_first_engines_reason_is_told_when_none_can_speak(ffmpeg: FFmpeg, place: Path) -> None:
    async with voice_service_running(Answer(b"no", status=403)) as service:
        chosen = VoiceSettings(engine=VoiceEngineName.OPENAI, fallbacks=(VoiceEngineName.CLONE,), url=service.url)
        with pytest.raises(VoiceFailed, match="refused the key"):
            await speak(chosen, ffmpeg, place)
    assert file_names(place.parent) == []


async def speak(
    chosen: VoiceSettings, ffmpeg: FFmpeg, place: Path, text: str = TEXT, voice_id: str | None = None
) -> Speech:
    async with open_voice(chosen, ffmpeg) as engine:
        return await engine.speak(text, language="en", voice_id=voice_id, destination=place)


@asynccontextmanager
async def service_at(url: str, *, seconds: float = 20, max_bytes: int = 10**6) -> AsyncIterator[VoiceService]:
    async with httpx.AsyncClient(base_url=url) as client:
        yield VoiceService(client, timeout=seconds, pause=0.001, max_bytes=max_bytes)


async def test_openai_is_asked_for_the_text_in_the_configured_voice(
    ffmpeg: FFmpeg, place: Path, speech_file: bytes
) -> None:
    async with voice_service_running(Answer(speech_file)) as service:
        speech = await speak(settings(service.url), ffmpeg, place)
    (request,) = service.received
    assert request.path == "/v1/audio/speech"
    assert request.authorization == "Bearer sesame"
    assert request.body == {"model": "a-model", "voice": "a-voice", "input": TEXT, "response_format": "wav"}
    assert speech.words is None
    assert speech.duration == pytest.approx(2.3, abs=0.02)
    assert Waveform.read(place).rate == SAMPLE_RATE
    assert file_names(place.parent) == [place.name]


async def test_a_jobs_own_voice_goes_before_the_configured_one(ffmpeg: FFmpeg, place: Path, speech_file: bytes) -> None:
    async with voice_service_running(Answer(speech_file)) as service:
        await speak(settings(service.url), ffmpeg, place, voice_id="nova")
    assert service.received[0].body["voice"] == "nova"


async def test_a_script_too_long_for_one_request_is_spoken_in_order(
    ffmpeg: FFmpeg, place: Path, tmp_path: Path
) -> None:
    script = "So it. " * 700
    answers = [Answer(wav(tmp_path, sound(seconds, 0.5))) for seconds in (50.0, 30.0)]
    async with voice_service_running(*answers) as service:
        speech = await speak(settings(service.url), ffmpeg, place, script.strip())
    first, second = (request.body["input"] for request in service.received)
    assert f"{first} {second}" == script.strip()
    assert first.endswith("it.")
    assert speech.duration == pytest.approx(50.5 + 30.3, abs=0.02)
    assert Waveform.read(place).pauses(shortest=0.4)[0].start == pytest.approx(50.0, abs=0.02)


async def test_the_clone_service_gets_the_text_alone(ffmpeg: FFmpeg, place: Path, speech_file: bytes) -> None:
    async with voice_service_running(Answer(speech_file, content_type="application/octet-stream")) as service:
        await speak(settings(f"{service.url}/voice/", VoiceEngineName.CLONE), ffmpeg, place)
    (request,) = service.received
    assert (request.path, request.body) == ("/voice/synthesize/clone_voice", {"text": TEXT})
    assert file_names(place.parent) == [place.name]


@pytest.mark.parametrize("engine", [VoiceEngineName.OPENAI, VoiceEngineName.CLONE])
async def test_an_engine_without_its_address_names_the_setting(ffmpeg: FFmpeg, engine: VoiceEngineName) -> None:
    with pytest.raises(ConfigurationError, match="TABARIO_VOICE_URL"):
        async with open_voice(settings(None, engine), ffmpeg):
            pass


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_service_is_asked_again(place: Path, status: int) -> None:
    async with (
        voice_service_running(Answer(status=status), Answer(b"audio")) as fake,
        service_at(fake.url) as service,
    ):
        await service.post("speech", {}, place)
    assert await anyio.Path(place).read_bytes() == b"audio"


async def test_a_service_that_stays_down_is_for_later(place: Path) -> None:
    async with voice_service_running(Answer(status=502)) as fake, service_at(fake.url) as service:
        with pytest.raises(RetryLater):
            await service.post("speech", {}, place)
    assert len(fake.received) == ATTEMPTS


async def test_a_service_that_cannot_be_reached_is_for_later(place: Path) -> None:
    async with service_at(f"http://127.0.0.1:{free_port()}") as service:
        with pytest.raises(RetryLater):
            await service.post("speech", {}, place)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"no such voice", status=400), "refused the script"),
        (Answer(b"who are you", status=401), "refused the key"),
        (Answer(b'{"error": "x"}', content_type="application/json"), "text instead of audio"),
        (Answer(b""), "no audio"),
        (Answer(b"x" * 1001), "too large"),
    ],
)
async def test_a_useless_answer_fails_at_once_and_says_why(place: Path, answer: Answer, message: str) -> None:
    async with voice_service_running(answer) as fake, service_at(fake.url, max_bytes=1000) as service:
        with pytest.raises(VoiceFailed, match=message):
            await service.post("speech", {}, place)
    assert len(fake.received) == 1


async def test_an_answer_that_never_ends_is_a_timeout(place: Path) -> None:
    async with (
        voice_service_running(Answer(b"RIFF", stalls=True)) as fake,
        service_at(fake.url, seconds=0.3) as service,
    ):
        with pytest.raises(VoiceFailed) as failure:
            await service.post("speech", {}, place)
    assert failure.value.reason == "timeout"


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"this is no audio at all", "could not be decoded"), (b"RIFF\x00\x00\x00\x00WAVE", "could not be decoded")],
)
async def test_audio_that_does_not_decode_is_refused(ffmpeg: FFmpeg, place: Path, body: bytes, message: str) -> None:
    async with voice_service_running(Answer(body)) as service:
        with pytest.raises(VoiceFailed, match=message):
            await speak(settings(service.url), ffmpeg, place)
    assert file_names(place.parent) == []


@pytest.mark.parametrize(
    ("answer", "text", "message"),
    [
        (sound(0.0, 3.0), TEXT, "silence"),
        (sound(0.5), TEXT * 10, "too short"),
        (sound(60.0), TEXT, "too long"),
    ],
)
async def test_audio_that_cannot_be_the_script_is_refused(  # noqa: PLR0913, PLR0917 - fixtures and cases
    ffmpeg: FFmpeg, place: Path, tmp_path: Path, answer: Waveform, text: str, message: str
) -> None:
    async with voice_service_running(Answer(wav(tmp_path, answer))) as service:
        with pytest.raises(VoiceFailed, match=message):
            await speak(settings(service.url), ffmpeg, place, text)
    assert file_names(place.parent) == []


@given(st.text(alphabet="ab .,\n。", min_size=1, max_size=300), st.integers(min_value=4, max_value=60))
def test_portions_fit_and_lose_nothing_but_white_space(script: str, longest: int) -> None:
    parts = list(portions(script, longest=longest))
    assert all(len(part) <= longest for part in parts)
    assert "".join("".join(part.split()) for part in parts) == "".join(script.split())


def test_a_short_script_is_one_portion() -> None:
    assert list(portions(TEXT, longest=MAX_INPUT_CHARACTERS)) == [TEXT]
