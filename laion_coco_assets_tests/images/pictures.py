"""Pictures made in memory: whole ones, and ones with something wrong. The limits that tests inspect them with."""

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

from laion_coco_assets.contract.profile import FetchSettings


def settings(**changes: Any) -> FetchSettings:
    """Small limits, so that tests need little; every wait is bounded by seconds."""
    values: dict[str, Any] = {
        "user_agent": "laion-coco-tests/1 (+https://example.org/about)",
        "total_timeout_s": 30.0,
        "connect_timeout_s": 30.0,
        "max_redirects": 3,
        "retries": 1,
        "max_bytes": 1_000_000,
        "max_pixels": 1_000_000,
        "min_side": 16,
        "max_aspect_ratio": 4.0,
        "respect_opt_out": True,
    }
    return FetchSettings(**values | changes)


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Red above, blue below, so that upside down shows."""
    image = Image.new("RGB", (width, height), (220, 30, 30))
    image.paste((30, 30, 220), (0, height // 2, width, height))
    return image


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    data = BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *before: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand: `rows` with their filter bytes, `before` the chunks between header and data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in chunks)


JPEG = encoded(scene(), "JPEG", quality=95)
PNG = encoded(scene(), "PNG")
WEBP = encoded(scene(), "WEBP", lossless=True)
GIF = encoded(scene(), "GIF")
AVIF = encoded(scene(), "AVIF", quality=95)
PIXEL = encoded(Image.new("RGB", (1, 1)), "GIF")
BANNER = encoded(Image.new("RGB", (400, 20)), "PNG")
#: 60 000 x 60 000 black pixels by its header; a few bytes of data.
BOMB = png(60_000, 60_000, 8, 2, b"\0" * 1000)
