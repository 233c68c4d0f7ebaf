"""A film as programs built on MoviePy make it: clips are put together and encoded, then opened again for subtitles.

`python moviepy_film.py ORDER` with a JSON file of `{"pictures", "ends", "cues", "voice", "font", "size", "fade",
"draft", "film"}`. It asks the encoder for what ours is asked for, and shows whole cues, not single words.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from moviepy import AudioFileClip, CompositeVideoClip, ImageClip, TextClip, VideoFileClip, concatenate_videoclips, vfx

FPS: Final = 30
ZOOM: Final = 0.028  # of the width a second, as ours
ENCODER: Final[dict[str, Any]] = {
    "fps": FPS,
    "codec": "libx264",
    "preset": "veryfast",
    "ffmpeg_params": ["-crf", "20", "-profile:v", "high", "-pix_fmt", "yuv420p", "-g", str(2 * FPS)],
    "audio_codec": "aac",
    "audio_bitrate": "192k",
    "logger": None,
}


def make_film(order: dict[str, Any]) -> None:
    size, fade = tuple(order["size"]), order["fade"]
    scenes = []
    for index, (path, (start, end)) in enumerate(zip(order["pictures"], pairwise([0.0, *order["ends"]]), strict=True)):
        seconds = end - start + (fade if index else 0)
        picture = ImageClip(path).with_duration(seconds).resized(lambda t: 1 + ZOOM * t).with_position("center")
        scene = CompositeVideoClip([picture], size=size).with_duration(seconds)
        scenes.append(scene.with_effects([vfx.CrossFadeIn(fade)]) if index else scene)
    film = concatenate_videoclips(scenes, method="compose", padding=-fade)
    film.with_audio(AudioFileClip(order["voice"])).write_videofile(order["draft"], **ENCODER)

    base = VideoFileClip(order["draft"])
    texts = [
        TextClip(
            font=order["font"],
            text=cue["text"],
            font_size=96,
            color="white",
            stroke_color="black",
            stroke_width=6,
            margin=(10, 20),
        )
        .with_start(cue["start"])
        .with_end(cue["end"])
        .with_position(("center", 1110))
        for cue in order["cues"]
    ]
    CompositeVideoClip([base, *texts]).write_videofile(order["film"], **ENCODER)


if __name__ == "__main__":
    make_film(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
