"""A decompression bomb: a small file that says it has more pixels than may be decoded."""

import struct
import zlib


def bomb(width=50000, height=50000):
    """The start of a PNG of one bit a pixel; nothing but its header is ever read."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, rows, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
