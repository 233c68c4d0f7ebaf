from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabario.clients.ffmpeg import FFmpeg
from tabario.errors import MergeFailed
from tabario.film.mp4 import read_mp4

PICTURE = ["-f", "lavfi", "-i", "color=red:s=64x48:r=25:d=1"]
SOUND = ["-f", "lavfi", "-i", "sine=r=48000:d=1"]


async def make_mp4(path: Path, *options: str) -> Path:
    await FFmpeg.find().run([*PICTURE, *SOUND, *options, "-f", "mp4", f"file:{path}"])
    return path


async def test_tracks_are_read(tmp_path: Path) -> None:
    film = read_mp4(await make_mp4(tmp_path / "film.mp4", "-c:v", "libx264", "-c:a", "aac"))
    assert (film.video.codec, film.video.sample_count, film.video.width, film.video.height) == ("avc1", 25, 64, 48)
    assert (film.audio.codec, film.audio.sample_rate, film.audio.channels) == ("mp4a", 48_000, 1)
    assert film.duration == pytest.approx(1.0, abs=0.001)
    assert film.audio.duration == pytest.approx(1.0, abs=0.001)


async def test_faststart_means_the_index_comes_first(tmp_path: Path) -> None:
    slow = await make_mp4(tmp_path / "slow.mp4")
    fast = await make_mp4(tmp_path / "fast.mp4", "-movflags", "+faststart")
    assert (read_mp4(slow).faststart, read_mp4(fast).faststart) == (False, True)


async def test_a_missing_track_is_named(tmp_path: Path) -> None:
    silent = read_mp4(await make_mp4(tmp_path / "silent.mp4", "-an"))
    with pytest.raises(MergeFailed, match="no sound"):
        _ = silent.audio


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="there is no ffprobe to compare with")
async def test_ffprobe_agrees(tmp_path: Path) -> None:
    path = await make_mp4(tmp_path / "film.mp4")
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-count_packets", str(path)]
    probed = subprocess.run(command, check=True, capture_output=True)  # noqa: ASYNC221 - a test may wait
    video, audio = json.loads(probed.stdout)["streams"]
    film = read_mp4(path)
    assert film.video.sample_count == int(video["nb_read_packets"])
    assert (film.video.width, film.video.height) == (video["width"], video["height"])
    assert film.video.duration == pytest.approx(float(video["duration"]), abs=0.001)
    assert film.audio.duration == pytest.approx(float(audio["duration"]), abs=0.001)
    assert film.audio.sample_rate == int(audio["sample_rate"])


async def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = (await make_mp4(tmp_path / "film.mp4")).read_bytes()
    broken = tmp_path / "broken.mp4"
    for length in range(0, len(data), 97):
        broken.write_bytes(data[:length])
        with pytest.raises(MergeFailed, match="not a complete MP4"):
            read_mp4(broken)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.mp4"
    size = (8 + len(data)).to_bytes(4, "big")
    path.write_bytes(b"\x00\x00\x00\x08mdat" + size + b"moov" + data)
    with pytest.raises(MergeFailed):
        read_mp4(path)
