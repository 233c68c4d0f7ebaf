"""The embedded voice's own process: one request on stdin, one WAV, one answer on stdout, the end.

eSpeak NG keeps its state in globals, may end its process on a bad text, and is under the GPL: it is never loaded into
ours. The request is `{"voice", "variant", "speed", "pitch", "pitch_range", "text", "audio"}`; `audio` is the WAV
to write. The answer is `{"duration", "marks"}` with a mark `[offset, second]` for each word that eSpeak tells apart:
where it stands in the text and when it starts; or it is `{"unknown_voice": name}`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from array import array
from pathlib import Path
from typing import Any, Final

import espeakng_loader

from tabario.waveform import Waveform

# speak_lib.h
_SYNCHRONOUS: Final = 2
_DO_NOT_EXIT: Final = 0x8000
_CHARACTERS: Final = 1
_UTF8: Final = 1
_RATE: Final = 1
_PITCH: Final = 3
_PITCH_RANGE: Final = 4
_OK: Final = 0
_LIST_TERMINATED: Final = 0
_WORD: Final = 1


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(request: dict[str, Any]) -> dict[str, Any]:
    """Answers one request. Raises RuntimeError when eSpeak reports an error."""
    audio = Path(request["audio"]).resolve()
    library, data = ctypes.CDLL(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    os.chdir(data.parent)  # eSpeak cuts the path of its data at 160 characters
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, b".", _DO_NOT_EXIT)
    if rate <= 0:
        raise RuntimeError("espeak_Initialize failed")
    voice, variant = request["voice"], request["variant"]
    # An unknown variant is no error to eSpeak: it would speak with another voice.
    if not (data / "voices" / "!v" / variant).is_file():
        return {"unknown_voice": variant}
    if library.espeak_SetVoiceByName(f"{voice}+{variant}".encode()) != _OK:
        return {"unknown_voice": voice}
    for parameter, field in ((_RATE, "speed"), (_PITCH, "pitch"), (_PITCH_RANGE, "pitch_range")):
        library.espeak_SetParameter(parameter, request[field], 0)
    samples, marks = _synthesize(library, request["text"])
    waveform = Waveform(samples, rate)
    waveform.write(audio)
    return {"duration": waveform.duration, "marks": [[offset, sample / rate] for offset, sample in marks]}


def _synthesize(library: ctypes.CDLL, text: str) -> tuple[array[int], list[tuple[int, int]]]:
    samples: array[int] = array("h")
    marks: list[tuple[int, int]] = []

    def receive(audio: Any, count: int, events: Any) -> int:  # noqa: ANN401 - ctypes pointers
        if count > 0:
            samples.frombytes(ctypes.string_at(audio, count * samples.itemsize))
        for event in events:
            if event.type == _LIST_TERMINATED:
                break
            if event.type == _WORD:
                marks.append((event.text_position - 1, event.sample))
        return 0

    callback = _Callback(receive)  # must live until the last call
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode()
    if library.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARACTERS, 0, _UTF8, None, None) != _OK:
        raise RuntimeError("espeak_Synth failed")
    return samples, marks


if __name__ == "__main__":
    json.dump(speak(json.load(sys.stdin)), sys.stdout)
