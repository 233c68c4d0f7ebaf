"""What every engine's audio goes through: decoded, joined, given an end, and held against the text it should speak."""

from __future__ import annotations

import errno
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio.to_thread

from tabario.clients.ffmpeg import FFmpeg
from tabario.clients.ffmpeg.audio import decode_audio
from tabario.errors import MergeFailed, VoiceFailed
from tabario.script import spoken_length
from tabario.waveform import Waveform

TAIL_SECONDS: Final = 0.3  # silence after the last word: an end that is not abrupt

_SILENT: Final = -50.0  # dBFS; whispered speech is 20 dB above
_FASTEST: Final = 45.0  # letters per second; a hurried speaker says 20
_SLOWEST: Final = 3.0  # letters per second; a solemn one says 8
_SLACK_SECONDS: Final = 4.0  # a single word may be drawn out

_BEYOND: Final = 1.0  # seconds that are decoded after the longest speech, so that one that goes on is found too long
_DECODE_SECONDS: Final = 120.0  # an hour takes ten on a busy machine


async def record(parts: Sequence[Path], *, text: str, ffmpeg: FFmpeg, destination: Path) -> Waveform:
    """Joins encoded audio files into one checked voiceover at `destination`: a WAV, 48 kHz, mono, 16 bits.

    The files are in any format that ffmpeg decodes and lie in a directory that may be written to. No more of them is
    decoded than can be the text.
    Raises VoiceFailed when they do not decode, are silent, or cannot be the text because of their length.
    """
    decoded = [part.with_name(f"{part.name}.wav") for part in parts]
    left = plausible_seconds(text)[1] + _BEYOND
    for part, wav in zip(parts, decoded, strict=True):
        try:
            left -= await decode_audio(ffmpeg, part, wav, longest=max(left, _BEYOND), timeout=_DECODE_SECONDS)
        except MergeFailed as error:
            raise VoiceFailed(
                "The voice engine's answer could not be decoded as audio.", reason=error.reason
            ) from error
    return await anyio.to_thread.run_sync(_finish, decoded, text, destination)


def _finish(decoded: Sequence[Path], text: str, destination: Path) -> Waveform:
    try:
        waveform = _join(decoded).with_tail(TAIL_SECONDS)
        check_speech(waveform, text)
        waveform.write(destination)
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "its file cannot be written"
        raise VoiceFailed(f"The voiceover could not be kept: {why}.") from error
    except (wave.Error, EOFError, ValueError) as error:
        raise VoiceFailed("The voice engine's answer could not be decoded as audio.") from error
    return waveform


def _join(decoded: Sequence[Path]) -> Waveform:
    samples: array[int] = array("h")
    for path in decoded:
        samples.extend(Waveform.read(path).samples)
    return Waveform(samples)


def plausible_seconds(text: str) -> tuple[float, float]:
    """What a hurried and a solemn speaker take for the text."""
    letters = spoken_length(text)
    return letters / _FASTEST, _SLACK_SECONDS + letters / _SLOWEST


def check_speech(waveform: Waveform, text: str) -> None:
    """Raises VoiceFailed when the recording is silent, or much too short or too long to be the text."""
    if waveform.speech_level < _SILENT:
        raise VoiceFailed("The voice engine answered with silence.")
    shortest, longest = plausible_seconds(text)
    if not shortest <= waveform.duration <= longest:
        fault = "short" if waveform.duration < shortest else "long"
        raise VoiceFailed(
            f"The voice engine's audio is too {fault} for the script: {waveform.duration:.1f} s, "
            f"where {shortest:.1f} to {longest:.1f} s are plausible. Check the language."
        )
