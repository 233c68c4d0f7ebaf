"""PNG files: quick encoding, and text chunks put into a finished file."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

from PIL import Image

# Signature (8), then the IHDR chunk: length, name, 13 bytes of data, checksum.
_AFTER_HEADER: Final = 8 + 4 + 4 + 13 + 4


def encode_png(picture: Image.Image) -> bytes:
    """The picture as PNG, packed quickly rather than tightly."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def with_text(png: bytes, keyword: str, text: str) -> bytes:
    """The PNG with a tEXt chunk right after its header; the pixels are not touched. `text` is ASCII."""
    body = b"tEXt" + keyword.encode("ascii") + b"\0" + text.encode("ascii")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_AFTER_HEADER] + chunk + png[_AFTER_HEADER:]
