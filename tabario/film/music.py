"""Music under the voice: the operator's own files, chosen by name, lowered while somebody speaks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tabario.clients.ffmpeg import FFmpeg, read_file
from tabario.clients.ffmpeg.audio import SAMPLE_RATE, measure_loudness
from tabario.errors import InvalidInput, MergeFailed

SUFFIXES: Final = frozenset({".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav"})

_BELOW_VOICE: Final = 12.0  # LU, in the pauses; under the words the ducking takes about 8 dB more
_DUCKING: Final = "sidechaincompress=threshold=0.03:ratio=8:attack=15:release=350"
_FADE_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True)
class MusicShelf:
    """The audio files of one directory, by their names without the suffix. Without a directory it is empty."""

    directory: Path | None

    def pieces(self) -> dict[str, Path]:
        """Every piece by its name."""
        if self.directory is None or not self.directory.is_dir():
            return {}
        files = sorted(path for path in self.directory.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        return {path.stem: path for path in files}

    def find(self, name: str) -> Path:
        """The file of a piece. Raises InvalidInput, naming those that there are."""
        pieces = self.pieces()
        if name not in pieces:
            choice = f"use one of: {', '.join(pieces)}" if pieces else "there is no music here; leave it out"
            raise InvalidInput("music", f"is not known; {choice}.")
        return pieces[name]


async def lay_music(ffmpeg: FFmpeg, voice: Path, music: Path, destination: Path, *, duration: float) -> None:
    """Writes voice and music together as a WAV of `duration` seconds. The music begins anew when it is over.

    Raises MergeFailed when the music is silent or cannot be decoded.
    """
    speech, bed = await measure_loudness(ffmpeg, voice), await measure_loudness(ffmpeg, music)
    if math.isinf(bed.integrated):
        raise MergeFailed("The music is silent.")
    if math.isinf(speech.integrated):
        raise MergeFailed("The voiceover is silent.")
    gain = speech.integrated - _BELOW_VOICE - bed.integrated
    fade = min(_FADE_SECONDS, duration / 3)
    shape = f"aformat=sample_fmts=fltp:channel_layouts=stereo:sample_rates={SAMPLE_RATE}"
    graph = (
        f"[0:a]{shape},asplit[voice][key];"
        f"[1:a]{shape},volume={gain:.2f}dB,atrim=duration={duration},"
        f"afade=in:d={fade},afade=out:st={duration - fade}:d={fade}[bed];"
        f"[bed][key]{_DUCKING}[ducked];[voice][ducked]amix=normalize=0:duration=first[mix]"
    )
    await ffmpeg.run(
        [
            *read_file(voice),
            *("-stream_loop", "-1", *read_file(music)),
            *("-filter_complex", graph, "-map", "[mix]", "-c:a", "pcm_f32le", "-f", "wav", f"file:{destination}"),
        ]
    )
