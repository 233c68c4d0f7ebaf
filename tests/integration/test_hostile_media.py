"""Media that lie about themselves: each gives the right film or a clear error, never a wrong film."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.ffmpeg.audio import decode_audio
from tabario.errors import MergeFailed
from tabario.film.stills import Still, prepare_picture
from tabario.formats import FrameSize
from tests.support.films import grab_frame, hue_of, paint_still, record_voice, speak_evenly
from tests.support.making import FRAME, make_film

SMALL = FrameSize(48, 64)
SYNTAX = ["'", '"', "ass=x", "[v];", "movie=/etc/passwd", r"\N", "{\\i1}", "%{pts}", ",null", "=:;", "$(id)", "&amp;"]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((48, 40), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


PICTURES = [encoded(kind) for kind in ("PNG", "JPEG", "WEBP")]


@st.composite
def damaged_pictures(draw: st.DrawFn) -> bytes:
    """A picture cut short, with bytes changed, or with more bytes after its end."""
    data = bytearray(draw(st.sampled_from(PICTURES)))
    for at in draw(st.lists(st.integers(0, len(data) - 1), max_size=6)):
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=20))


@given(damaged_pictures() | st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_a_damaged_picture_is_refused_or_whole(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    source, prepared = (tmp_path_factory.getbasetemp() / name for name in ("fuzzed.png", "fuzzed.ppm"))
    source.write_bytes(data)
    prepared.unlink(missing_ok=True)
    refusal = None
    try:
        prepare_picture(source, prepared, SMALL)
    except MergeFailed as error:
        refusal = str(error)
    assert refusal in {None, "A picture is damaged or in an unknown format.", "A picture is too large to be shown."}
    assert prepared.exists() == (refusal is None)
    if refusal is None:
        with Image.open(prepared) as image:
            image.load()
            assert image.mode == "RGB"


@given(st.binary(max_size=300), st.integers(0, 20_000), st.integers(0, 60))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_damaged_audio_is_refused_or_decoded(tmp_path: Path, noise: bytes, cut: int, at: int) -> None:
    good = bytearray(record_voice(tmp_path / "good.wav", 0.2).read_bytes())
    good[at : at + len(noise)] = noise
    (tmp_path / "bad.wav").write_bytes(good[:cut])
    (tmp_path / "out.wav").unlink(missing_ok=True)
    refusal, seconds = "", 0.0
    try:
        seconds = await decode_audio(FFmpeg.find(), tmp_path / "bad.wav", tmp_path / "out.wav")
    except MergeFailed as error:
        refusal = str(error)
    assert bool(refusal) != (seconds > 0)
    assert str(tmp_path) not in refusal


@pytest.mark.parametrize("content", [b"", b"RIFF", b"#!/bin/sh\nexit 1\n", PICTURES[0][:100]])
async def test_a_voice_that_is_no_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "voice.wav").write_bytes(content)
    with pytest.raises(MergeFailed):
        await make_film(tmp_path, duration=1.0, audio=tmp_path / "voice.wav")
    assert not (tmp_path / "film.mp4").exists()


async def test_a_picture_with_a_wrong_suffix_is_shown(tmp_path: Path) -> None:
    still = paint_still(tmp_path, 1, 3, FRAME, 3.0)
    with Image.open(still.path) as image:
        image.save(tmp_path / "picture.jpg", "WEBP")
    await make_film(tmp_path, duration=1.0, stills=[Still(tmp_path / "picture.jpg", 0, 1.0)])
    assert hue_of(grab_frame(FFmpeg.find(), tmp_path / "film.mp4", 15)) == pytest.approx(1 / 3, abs=0.03)


async def test_names_and_words_with_the_syntax_of_filters_are_only_names_and_words(tmp_path: Path) -> None:
    place = tmp_path / 'it\'s a "film";\n[0:v] %03d, \\ $HOME:x'
    place.mkdir()
    facts = await make_film(place, duration=2.0, words=speak_evenly(SYNTAX, 2.0))
    assert facts.frames == 60


async def test_a_picture_in_a_format_that_runs_programs_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "EPS")
    (tmp_path / "picture.png").write_bytes(buffer.getvalue())
    with pytest.raises(MergeFailed, match="unknown format"):
        await make_film(tmp_path, duration=1.0, stills=[Still(tmp_path / "picture.png", 0, 1.0)])
