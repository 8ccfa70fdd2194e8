"""Encodes the demo's pictures in each format, intact and broken. The same sample always gives the same bytes."""

import struct
import zlib
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageChops, ImageDraw

from laion_coco_assets.demo.corpus import DemoSample
from laion_coco_assets.demo.drawing import draw_scene

ORIENTATION_TAG = 0x0112
BOMB_SIDE = 20_000
HUGE_BYTES = 12_000_000

CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}


def picture_of(sample: DemoSample) -> Image.Image:
    """What `sample` shows, as RGB."""
    if sample.scene is None:
        raise ValueError(f"sample {sample.index} ({sample.behaviour}) shows nothing")
    return draw_scene(sample.scene, sample.width, sample.height)


def content_type(sample: DemoSample) -> str:
    """The correct Content-Type of the sample's picture."""
    return CONTENT_TYPES[sample.format.partition("_")[0]]


def _saved(picture: Image.Image, file_format: str, **options: object) -> bytes:
    out = BytesIO()
    picture.save(out, file_format, **options)
    return out.getvalue()


def _rotated_by_exif(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6  # 6 means "turn 90 degrees clockwise", so the pixels are stored turned the other way
    return _saved(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=88, exif=exif)


def _with_round_corners(picture: Image.Image) -> bytes:
    width, height = picture.size
    alpha = Image.new("L", picture.size, 0)
    ImageDraw.Draw(alpha).rounded_rectangle([0, 0, width - 1, height - 1], radius=min(width, height) // 12, fill=255)
    picture.putalpha(ImageChops.lighter(alpha, Image.new("L", picture.size, 40)))
    return _saved(picture, "PNG")


def encode_picture(sample: DemoSample) -> bytes:  # noqa: PLR0911 - one per format
    """The sample's picture as a file of its format."""
    picture = picture_of(sample)
    match sample.format:
        case "jpeg":
            return _saved(picture, "JPEG", quality=75 + sample.index % 20)
        case "jpeg_grey":
            return _saved(picture.convert("L"), "JPEG", quality=85)
        case "jpeg_cmyk":
            return _saved(picture.convert("CMYK"), "JPEG", quality=88)
        case "jpeg_rotated":
            return _rotated_by_exif(picture)
        case "png":
            return _saved(picture, "PNG", compress_level=4)
        case "png_palette":
            return _saved(picture.quantize(128), "PNG")
        case "png_alpha":
            return _with_round_corners(picture)
        case "webp":
            return _saved(picture, "WEBP", quality=80, method=2)
        case "gif":
            return _saved(picture.quantize(128), "GIF")


def tiff_bytes(sample: DemoSample) -> bytes:
    """The picture as a TIFF, a format that the data set does not accept."""
    return _saved(picture_of(sample), "TIFF")


@lru_cache(maxsize=1)
def bomb_bytes() -> bytes:
    """A valid greyscale PNG of a few dozen kilobytes that unpacks to 400 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(6)
    row = bytes(1 + BOMB_SIDE // 8)
    rows = b"".join([*(packer.compress(row * 100) for _ in range(BOMB_SIDE // 100)), packer.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
