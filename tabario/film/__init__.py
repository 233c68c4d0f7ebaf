"""The film: scene plan, subtitles, motion, loudness and the merge."""
