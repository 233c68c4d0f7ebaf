from __future__ import annotations

import wave
from array import array
from pathlib import Path

import pytest

from tabario.waveform import Waveform
from tests.support.sounds import sound


def test_pauses_are_found_where_the_sound_stops() -> None:
    pauses = sound(1.0, 0.4, 0.5, 0.05, 0.5, 0.3).pauses(shortest=0.1)
    assert [pytest.approx(value, abs=0.011) for pause in pauses for value in pause] == [1.0, 1.4, 2.45, 2.75]


def test_noise_far_below_the_speech_is_a_pause() -> None:
    speech = sound(0.5, 0.5, 0.5)
    for index in range(len(speech.samples)):
        speech.samples[index] += index % 100
    assert len(Waveform(speech.samples).pauses(shortest=0.2)) == 1


@pytest.mark.parametrize("silence", [0.0, 0.1, 5.0])
def test_the_tail_has_the_wanted_length_whatever_it_was(silence: float) -> None:
    speech = sound(1.0, silence).with_tail(0.3)
    assert speech.duration == pytest.approx(1.3, abs=0.01)
    assert speech.pauses(shortest=0.2)[-1].end == speech.duration


def test_silence_has_no_speech_level() -> None:
    assert sound(0.0, 1.0).speech_level < -100
    assert Waveform(array("h")).speech_level < -100
    assert -20 < sound(1.0).speech_level < -10


def test_a_written_waveform_reads_back(tmp_path: Path) -> None:
    speech = sound(0.1, 0.1, 0.1)
    speech.write(tmp_path / "speech.wav")
    assert Waveform.read(tmp_path / "speech.wav") == speech
    assert [path.name for path in tmp_path.iterdir()] == ["speech.wav"]


def test_a_stereo_file_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "stereo.wav"), "wb") as file:
        file.setparams((2, 2, 48_000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(400))
    with pytest.raises(ValueError, match="mono"):
        Waveform.read(tmp_path / "stereo.wav")
