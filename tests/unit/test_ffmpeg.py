from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import psutil
import pytest

from tabario.clients.ffmpeg import FFmpeg, read_file
from tabario.clients.ffmpeg.audio import decode_audio, measure_loudness
from tabario.errors import ConfigurationError, MergeFailed
from tests.support.films import record_voice
from tests.support.waiting import eventually

ENDLESS = ["-re", "-f", "lavfi", "-i", "testsrc", "-f", "null", "-"]


@pytest.fixture(scope="session")
def ffmpeg() -> FFmpeg:
    return FFmpeg.find()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def none_left(before: set[int]) -> Callable[[], Awaitable[bool]]:
    """Whether every child since is gone: one that was ended is there until a thread of asyncio's has waited for it."""

    async def none() -> bool:
        return children() <= before

    return none


def test_a_binary_that_does_not_run_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TABARIO_MEDIA_FFMPEG"):
        FFmpeg.find(tmp_path / "ffmpeg")
    with pytest.raises(ConfigurationError, match="TABARIO_MEDIA_FFMPEG"):
        FFmpeg.find(Path("/bin/false"))


async def test_progress_counts_the_seconds_done(ffmpeg: FFmpeg) -> None:
    seen: list[float] = []

    async def keep(seconds: float) -> None:
        seen.append(seconds)

    await ffmpeg.run(["-f", "lavfi", "-i", "testsrc=d=2:r=30", "-f", "null", "-"], on_progress=keep)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(2.0, abs=0.05)


async def test_cancelling_the_caller_ends_ffmpeg(ffmpeg: FFmpeg) -> None:
    before = children()

    async def started() -> bool:
        return bool(children() - before)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ffmpeg.run, ENDLESS)
        await eventually(started, within=10, what="ffmpeg runs")
        tasks.cancel_scope.cancel()
    await eventually(none_left(before), within=10, what="ffmpeg has ended")


async def test_an_ffmpeg_that_takes_too_long_is_ended(ffmpeg: FFmpeg) -> None:
    before = children()
    with pytest.raises(MergeFailed, match="too long") as failure:
        await ffmpeg.run(ENDLESS, timeout=0.3)
    assert failure.value.reason == "timeout"
    await eventually(none_left(before), within=10, what="ffmpeg has ended")


async def test_a_failure_says_little_and_logs_much(
    ffmpeg: FFmpeg, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = tmp_path / "secret-name.mp3"
    damaged.write_bytes(b"no sound at all" * 100)
    with caplog.at_level(logging.ERROR), pytest.raises(MergeFailed, match="damaged") as failure:
        await measure_loudness(ffmpeg, damaged)
    assert "secret-name" not in str(failure.value)
    assert "secret-name" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_a_full_disk_is_named(ffmpeg: FFmpeg) -> None:
    with pytest.raises(MergeFailed, match="disk is full"):
        await ffmpeg.run(["-f", "lavfi", "-i", "sine=d=5", "-f", "wav", "file:/dev/full"])


async def test_media_cannot_make_ffmpeg_open_an_address(ffmpeg: FFmpeg, tmp_path: Path) -> None:
    playlist = tmp_path / "voice.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MergeFailed):
        await ffmpeg.run([*read_file(playlist), "-f", "null", "-"], timeout=20)


async def test_names_with_quotes_colons_and_newlines_are_files(ffmpeg: FFmpeg, tmp_path: Path) -> None:
    source = record_voice(tmp_path / "-it's: a\n%03d voice.wav", 0.5)
    duration = await decode_audio(ffmpeg, source, tmp_path / "plain.wav")
    assert duration == pytest.approx(0.5, abs=0.001)


async def test_audio_without_a_sample_is_refused(ffmpeg: FFmpeg, tmp_path: Path) -> None:
    with pytest.raises(MergeFailed):
        await decode_audio(ffmpeg, record_voice(tmp_path / "empty.wav", 0), tmp_path / "plain.wav")


async def test_silence_is_minus_infinity(ffmpeg: FFmpeg, tmp_path: Path) -> None:
    loudness = await measure_loudness(ffmpeg, record_voice(tmp_path / "silent.wav", 1, amplitude=0))
    assert loudness.integrated == float("-inf")
