"""Audio that is much more than it seems, from a voice service that is broken or hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.voice import recording
from tabario.clients.voice.recording import plausible_seconds, record
from tabario.errors import VoiceFailed
from tabario.waveform import SAMPLE_RATE, Waveform
from tests.support.sounds import sound

TEXT = "The lamp still burns."
SLACK = 1.0  # seconds that may be decoded beyond what is plausible


async def compressed(path: Path, source: str) -> Path:
    """Half an hour of what ffmpeg's own source gives, in a small file."""
    await FFmpeg.find().run(["-f", "lavfi", "-i", source, "-t", "1800", "-f", "flac", f"file:{path}"])
    return path


@pytest.mark.parametrize(
    ("source", "message"),
    [("anullsrc=r=48000:cl=mono", "silence"), ("sine=f=200:r=8000", "too long")],
)
async def test_of_a_small_file_that_holds_half_an_hour_little_is_decoded(
    tmp_path: Path, source: str, message: str
) -> None:
    part = await compressed(tmp_path / "part", source)
    with pytest.raises(VoiceFailed, match=message):
        await record([part], text=TEXT, ffmpeg=FFmpeg.find(), destination=tmp_path / "voice.wav")
    decoded = (tmp_path / "part.wav").stat().st_size / 2 / SAMPLE_RATE
    assert decoded <= plausible_seconds(TEXT)[1] + SLACK + 0.1
    assert not (tmp_path / "voice.wav").exists()


async def test_speech_that_is_followed_by_a_long_silence_is_kept(tmp_path: Path) -> None:
    sound(2.0, 60.0).write(tmp_path / "part.flac")
    made = await record([tmp_path / "part.flac"], text=TEXT, ffmpeg=FFmpeg.find(), destination=tmp_path / "voice.wav")
    assert made.duration == pytest.approx(2.0 + recording.TAIL_SECONDS, abs=0.02)


async def test_the_parts_of_a_long_script_are_decoded_to_their_ends(tmp_path: Path) -> None:
    parts = [tmp_path / "one", tmp_path / "two"]
    for part, seconds in zip(parts, (3.0, 5.0), strict=True):
        sound(seconds).write(part)
    made = await record(parts, text=TEXT, ffmpeg=FFmpeg.find(), destination=tmp_path / "voice.wav")
    assert made.duration == pytest.approx(8.0 + recording.TAIL_SECONDS, abs=0.02)
    assert Waveform.read(tmp_path / "voice.wav").duration == made.duration


async def test_audio_that_is_decoded_for_ever_is_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_DECODE_SECONDS", 0.2)
    stuck = tmp_path / "ffmpeg"
    stuck.write_text("#!/bin/sh\nexec tail -f /dev/null\n", encoding="utf-8")
    stuck.chmod(0o700)
    sound(2.0).write(tmp_path / "part")
    with pytest.raises(VoiceFailed) as failure:
        await record([tmp_path / "part"], text=TEXT, ffmpeg=FFmpeg(stuck), destination=tmp_path / "voice.wav")
    assert failure.value.reason == "timeout"
