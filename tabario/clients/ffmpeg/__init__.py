"""ffmpeg, which decodes, measures and encodes."""

from tabario.clients.ffmpeg.binary import FFmpeg
from tabario.clients.ffmpeg.command import read_file, read_picture, read_pipe

__all__ = ["FFmpeg", "read_file", "read_picture", "read_pipe"]
