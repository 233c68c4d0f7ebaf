"""ffmpeg, which decodes, measures and encodes."""
