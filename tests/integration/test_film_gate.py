"""The gate: films that must not be published, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tabario.clients.ffmpeg import FFmpeg
from tabario.errors import FilmRefused
from tabario.film.burning import write_ass
from tabario.film.encoders import SOFTWARE, Encoder
from tabario.film.encoding import STRETCHES, Materials, encode
from tabario.film.gate import Expectation, Report, examine_film
from tabario.film.loudness import level_voice
from tabario.film.merge import FilmOrder, merge_twice
from tabario.film.motion import choose_motion
from tabario.film.stills import Still
from tabario.film.stretches import Fault, Scenery, Stretch, read_stretches, unexcused
from tabario.scenes import Word
from tabario.settings import Quality
from tests.support.films import paint_still, record_voice, speak_evenly
from tests.support.making import DURATION, FRAME, SETTING, ignore, make_film

SECONDS = 4.0
MOVING = f"testsrc2=s={FRAME.width}x{FRAME.height}:r=30:d=1.5,format=yuv420p"
BLACK = f"color=black:s={FRAME.width}x{FRAME.height}:r=30:d=1,format=yuv420p"
STILL = f"testsrc2=s={FRAME.width}x{FRAME.height}:r=30:d=0.03,format=yuv420p,loop=-1:1,trim=end_frame=45,setpts=N/30/TB"


async def film_of(directory: Path, frames: str, words: list[Word], *, shown: list[Word] | None = None) -> Report:
    """Encodes frames that ffmpeg's own sources draw, as a merge would, and examines the film."""
    ffmpeg = FFmpeg.find()
    write_ass(words if shown is None else shown, FRAME, SETTING, directory / "words.ass")
    await level_voice(ffmpeg, record_voice(directory / "voice.wav", SECONDS), directory / "sound.m4a")
    raw = directory / "frames.yuv"
    await ffmpeg.run(["-f", "lavfi", "-i", frames, "-f", "rawvideo", f"file:{raw}"])
    materials = Materials(
        directory,
        FRAME,
        (),
        (),
        choose_motion,
        "sound.m4a",
        "words.ass",
        SETTING.fonts,
        SOFTWARE[Quality.STANDARD],
    )
    with raw.open("rb") as source:
        await encode(ffmpeg, materials, "film.part", source.fileno(), ignore)
    expected = Expectation(
        frame=FRAME,
        duration=SECONDS,
        words=words,
        scenes=[Scenery(0, SECONDS, frozenset())],
        stretches=read_stretches(directory / STRETCHES, SECONDS),
        subtitles=directory / "words.ass",
        setting=SETTING,
    )
    return (await examine_film(ffmpeg, directory / "film.part", expected)).report


WORDS = speak_evenly(["Every", "word", "counts."], SECONDS)


async def test_a_good_film_passes_every_check(tmp_path: Path) -> None:
    report = await film_of(tmp_path, f"{MOVING},loop=-1:45,trim=end_frame=120,setpts=N/30/TB", WORDS)
    assert report.problem == ""
    assert report.passed
    assert len(report.checks) == len({check.name for check in report.checks}) == 12


async def test_black_and_frozen_stretches_are_refused_under_subtitles_too(tmp_path: Path) -> None:
    report = await film_of(tmp_path, f"{MOVING}[a];{BLACK}[b];{STILL}[c];[a][b][c]concat=n=3", WORDS)
    assert "it is black from 1.50 to 2.50 s" in report.problem
    assert "it is frozen" in report.problem
    assert report.problem.endswith("from 2.50 to 4.00 s")


async def test_a_film_whose_subtitles_lack_a_word_is_refused(tmp_path: Path) -> None:
    moving = f"{MOVING},loop=-1:45,trim=end_frame=120,setpts=N/30/TB"
    report = await film_of(tmp_path, moving, WORDS, shown=[WORDS[0], WORDS[2]])
    assert report.problem == "its subtitles differ from the script"


async def test_a_film_without_its_last_second_is_refused(tmp_path: Path) -> None:
    report = await film_of(tmp_path, f"{MOVING},loop=-1:45,trim=end_frame=90,setpts=N/30/TB", WORDS)
    assert report.problem.startswith("it has 90 frames")


async def test_a_film_without_burned_in_words_is_refused(tmp_path: Path) -> None:
    moving = f"color=gray:s={FRAME.width}x{FRAME.height}:r=30:d=4,format=yuv420p"
    blank = [word.model_copy(update={"start": 9.0, "end": 9.5}) for word in WORDS]
    report = await film_of(tmp_path, moving, WORDS, shown=blank)
    assert "of the 0 pixels of the spoken word are seen" in report.problem


async def test_dark_and_plain_pictures_are_no_fault_of_the_film(tmp_path: Path) -> None:
    stills = [Still(tmp_path / "night.png", 0, 2.0), Still(tmp_path / "fog.png", 2.0, 4.0)]
    night = Image.new("RGB", FRAME, (3, 3, 8))
    night.paste((250, 240, 180), (200, 700, 260, 760))
    night.save(stills[0].path)
    Image.new("RGB", FRAME, (190, 190, 200)).save(stills[1].path)
    facts = await make_film(tmp_path, stills=stills, duration=4.0)
    assert facts.frames == 120


@pytest.mark.parametrize(
    ("stretch", "faulty"),
    [
        (Stretch(Fault.FROZEN, 0.0, 0.99), False),
        (Stretch(Fault.FROZEN, 0.0, 1.0), True),
        (Stretch(Fault.FROZEN, 1.5, 4.0), False),
        (Stretch(Fault.FROZEN, 0.5, 4.0), True),
        (Stretch(Fault.BLACK, 3.0, 3.2), True),
        (Stretch(Fault.BLACK, 3.0, 3.05), False),
    ],
)
def test_only_what_the_pictures_do_not_explain_counts(stretch: Stretch, *, faulty: bool) -> None:
    scenes = [Scenery(0, 2, frozenset()), Scenery(2, 4, frozenset({Fault.FROZEN}))]
    assert bool(unexcused([stretch], scenes)) is faulty


def spoiling_ffmpeg(directory: Path, times: int) -> FFmpeg:
    """An ffmpeg that leaves the index at the end of the first so many films: players would have to wait."""
    script = directory / "ffmpeg"
    script.write_text(
        f"""#!/bin/bash
if [[ "$*" == *+faststart* ]]; then
    echo >> "{directory}/films"
    (( $(wc -l < "{directory}/films") <= {times} )) && set -- "${{@/+faststart/+disable_chpl}}"
fi
exec {FFmpeg.find().binary} "$@"
""",
        encoding="utf-8",
    )
    script.chmod(0o700)
    return FFmpeg(script)


async def order_twice(
    directory: Path, *, spoiled: int, reports: list[Report], encoder: Encoder = SOFTWARE[Quality.STANDARD]
) -> None:
    async def keep(report: Report) -> None:
        reports.append(report)

    await merge_twice(
        FilmOrder(
            [paint_still(directory, 0, 1, FRAME, DURATION)],
            speak_evenly(["Again", "please."], DURATION),
            record_voice(directory / "voice.wav", DURATION),
            duration=DURATION,
            frame=FRAME,
            setting=SETTING,
            encoder=encoder,
        ),
        SOFTWARE[Quality.DRAFT],
        work_dir=directory / "work",
        destination=directory / "film.mp4",
        ffmpeg=spoiling_ffmpeg(directory, spoiled),
        on_progress=ignore,
        on_report=keep,
    )


async def test_a_refused_film_is_made_once_more(tmp_path: Path) -> None:
    reports: list[Report] = []
    await order_twice(tmp_path, spoiled=1, reports=reports)
    assert [report.passed for report in reports] == [False, True]
    assert (tmp_path / "film.mp4").exists()


async def test_an_encoder_that_fails_is_replaced(tmp_path: Path) -> None:
    reports: list[Report] = []
    await order_twice(tmp_path, spoiled=0, reports=reports, encoder=Encoder("h264_of_no_machine", ()))
    assert [report.passed for report in reports] == [True]


async def test_a_film_that_is_refused_twice_fails_with_the_reason(tmp_path: Path) -> None:
    reports: list[Report] = []
    with pytest.raises(FilmRefused, match="it cannot be played while it loads"):
        await order_twice(tmp_path, spoiled=2, reports=reports)
    assert [report.passed for report in reports] == [False, False]
    assert not (tmp_path / "film.mp4").exists()
    assert not (tmp_path / "work" / "film.part").exists()
