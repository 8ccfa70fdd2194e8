"""Inspection: which bytes are an image, and the one reason why others are not."""

import gzip
import random
import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from laion_coco_assets.contract.reasons import Reason, Rejection
from laion_coco_assets.images.decode import decode_rgb
from laion_coco_assets.images.inspection import ImageInfo, inspect
from laion_coco_assets_tests.images import pictures
from laion_coco_assets_tests.images.pictures import AVIF, GIF, JPEG, PNG, WEBP, encoded, png, scene

LIMITS = pictures.settings()
TEXT_BOMB = zlib.compress(bytes(200_000_000), 9)
WHOLE = {"JPEG": JPEG, "PNG": PNG, "WEBP": WEBP, "GIF": GIF, "AVIF": AVIF}


def cmyk() -> bytes:
    return encoded(scene().convert("CMYK"), "JPEG")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(scene(), "JPEG", exif=exif)


def resized(height: int, width: int) -> bytes:
    """The JPEG with another size in its header."""
    return JPEG.replace(struct.pack(">HH", 48, 64), struct.pack(">HH", height, width))


def with_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    return png(20, 20, 8, 2, (b"\0" + b"\x80\x20\x20" * 20) * 20, *chunks)


def damaged_exif() -> bytes:
    return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", 40) + b"Exif\0\0MM\0*" + b"\xff" * 28 + JPEG[2:]


def animated(format_: str) -> bytes:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    return encoded(frames[0], format_, save_all=True, append_images=frames[1:])


def gif_frame_beyond_its_screen() -> bytes:
    whole = bytearray(encoded(Image.new("P", (40, 40)), "GIF"))
    whole[6:10] = struct.pack("<HH", 1, 1)
    return bytes(whole)


GOOD: dict[str, tuple[bytes, ImageInfo]] = {
    **{name: (data, ImageInfo(name, 64, 48)) for name, data in WHOLE.items()},
    "CMYK JPEG": (cmyk(), ImageInfo("JPEG", 64, 48)),
    "progressive JPEG": (encoded(scene(), "JPEG", progressive=True), ImageInfo("JPEG", 64, 48)),
    "JPEG, EXIF turned": (turned(), ImageInfo("JPEG", 48, 64)),
    "JPEG, EXIF damaged": (damaged_exif(), ImageInfo("JPEG", 64, 48)),
    "JPEG with a tail": (JPEG + b"<script>" * 100, ImageInfo("JPEG", 64, 48)),
    "JPEG, two pictures (MPO)": (
        encoded(scene(), "MPO", save_all=True, append_images=[scene()]),
        ImageInfo("JPEG", 64, 48),
    ),
    "16-bit PNG": (png(20, 20, 16, 0, (b"\0" + b"\x80\0" * 20) * 20), ImageInfo("PNG", 20, 20)),
    "1-bit PNG": (encoded(scene().convert("1"), "PNG"), ImageInfo("PNG", 64, 48)),
    "interlaced palette PNG": (encoded(scene().convert("P"), "PNG", interlace=1), ImageInfo("PNG", 64, 48)),
    "animated GIF": (animated("GIF"), ImageInfo("GIF", 40, 40)),
    "animated WebP": (animated("WEBP"), ImageInfo("WEBP", 40, 40)),
    "animated PNG": (animated("PNG"), ImageInfo("PNG", 40, 40)),
    "animated AVIF": (animated("AVIF"), ImageInfo("AVIF", 40, 40)),
    "GIF frame beyond its screen": (gif_frame_beyond_its_screen(), ImageInfo("GIF", 40, 40)),
    "greyscale progressive JPEG": (
        encoded(scene().convert("L"), "JPEG", progressive=True),
        ImageInfo("JPEG", 64, 48),
    ),
    "JPEG with 640 kB of EXIF": (
        JPEG[:2] + (b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)) * 10 + JPEG[2:],
        ImageInfo("JPEG", 64, 48),
    ),
    "JPEG that is a zip archive, too": (
        JPEG + b"PK\3\4" + bytes(30) + b"PK\5\6" + bytes(18),
        ImageInfo("JPEG", 64, 48),
    ),
    "GIF that is a script, too": (GIF + b"<?php system($_GET[0]);", ImageInfo("GIF", 64, 48)),
    "PNG with 50 MB behind its rows": (png(20, 20, 8, 2, bytes(61 * 20 + 50_000_000)), ImageInfo("PNG", 20, 20)),
    "at the smallest side": (encoded(Image.new("L", (16, 64)), "PNG"), ImageInfo("PNG", 16, 64)),
    "at the largest size": (encoded(Image.new("1", (1000, 1000)), "PNG"), ImageInfo("PNG", 1000, 1000)),
}
BAD: dict[str, tuple[bytes, Reason]] = {
    "nothing": (b"", Reason.NOT_AN_IMAGE),
    "a byte": (b"\xff", Reason.NOT_AN_IMAGE),
    "text": (b"Not found", Reason.NOT_AN_IMAGE),
    "HTML": (b"\xef\xbb\xbf\n<!doctype html><html><svg></svg></html>", Reason.NOT_AN_IMAGE),
    "HTML with a comment first": (b"<!-- x --><html></html>", Reason.NOT_AN_IMAGE),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", Reason.NOT_AN_IMAGE),
    "JSON": (b'{"error": 404}', Reason.NOT_AN_IMAGE),
    "PDF": (b"%PDF-1.7\n", Reason.NOT_AN_IMAGE),
    "zip": (b"PK\3\4" + b"\0" * 50, Reason.NOT_AN_IMAGE),
    "gzipped JPEG": (gzip.compress(JPEG), Reason.NOT_AN_IMAGE),
    "MP4": (b"\0\0\0\x18ftypisom\0\0\2\0isommp42", Reason.NOT_AN_IMAGE),
    "RIFF, but sound": (b"RIFF\x24\0\0\0WAVEfmt ", Reason.NOT_AN_IMAGE),
    "many comments and no SVG": (b"<!-- a -->" * 100_000, Reason.NOT_AN_IMAGE),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", Reason.UNSUPPORTED_FORMAT),
    "SVG with prolog": (
        b'<?xml version="1.0"?>\n<!-- a -->\n<!DOCTYPE svg PUBLIC "x" "y" [<!ENTITY a "b">]>\n<svg:svg >',
        Reason.UNSUPPORTED_FORMAT,
    ),
    "TIFF": (encoded(scene(), "TIFF"), Reason.UNSUPPORTED_FORMAT),
    "BMP": (encoded(scene(), "BMP"), Reason.UNSUPPORTED_FORMAT),
    "ICO": (encoded(scene(), "ICO"), Reason.UNSUPPORTED_FORMAT),
    "PPM": (encoded(scene(), "PPM"), Reason.UNSUPPORTED_FORMAT),
    "JPEG 2000": (encoded(scene(), "JPEG2000"), Reason.UNSUPPORTED_FORMAT),
    "PSD": (b"8BPS\0\1" + b"\0" * 40, Reason.UNSUPPORTED_FORMAT),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Reason.UNSUPPORTED_FORMAT),
    "JPEG XL": (b"\xff\x0a\0\0\0", Reason.UNSUPPORTED_FORMAT),
    "bomb by its header": (pictures.BOMB, Reason.BOMB),
    "just too many pixels": (encoded(Image.new("1", (1001, 1000)), "PNG"), Reason.BOMB),
    "GIF of 65535 x 65535": (b"GIF89a\xff\xff\xff\xff\0\0\0," + b"\0" * 30, Reason.BOMB),
    "JPEG of 65500 x 65500": (resized(65500, 65500), Reason.BOMB),
    "PNG comment of 200 MB": (with_chunks((b"zTXt", b"Comment\0\0" + TEXT_BOMB)), Reason.BOMB),
    "PNG international comment of 200 MB": (with_chunks((b"iTXt", b"C\0\1\0\0\0" + TEXT_BOMB)), Reason.BOMB),
    "PNG colour profile of 200 MB": (with_chunks((b"iCCP", b"x\0\0" + TEXT_BOMB)), Reason.BOMB),
    "PNG with 80 comments of 1 MB": (
        with_chunks(*[(b"zTXt", b"C\0\0" + zlib.compress(bytes(1_000_000)))] * 80),
        Reason.BOMB,
    ),
    "one pixel": (encoded(Image.new("RGB", (1, 1)), "PNG"), Reason.TOO_SMALL),
    "a line": (encoded(Image.new("L", (65500, 1)), "PNG"), Reason.TOO_SMALL),
    "the longest WebP": (encoded(Image.new("RGB", (16383, 17)), "WEBP"), Reason.ASPECT_RATIO),
    "one side too small": (encoded(Image.new("L", (15, 40)), "PNG"), Reason.TOO_SMALL),
    "tracking pixel": (pictures.PIXEL, Reason.TOO_SMALL),
    "banner": (encoded(Image.new("L", (321, 80)), "PNG"), Reason.ASPECT_RATIO),
    "tower": (encoded(Image.new("L", (80, 321)), "PNG"), Reason.ASPECT_RATIO),
    "JPEG of its magic only": (JPEG[:3], Reason.DECODE_ERROR),
    "PNG of its magic only": (PNG[:8], Reason.TRUNCATED),
    "PNG with a flipped bit": (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], Reason.DECODE_ERROR),
    "PNG without its end": (PNG[:-12], Reason.TRUNCATED),
    "PNG with too few rows": (png(20, 20, 8, 2, bytes(61 * 19 + 7)), Reason.TRUNCATED),
    "PNG of 7 bits a sample": (png(20, 20, 7, 2, bytes(61 * 20)), Reason.DECODE_ERROR),
    "PNG with more transparencies than a palette has": (
        png(20, 20, 8, 3, bytes(21 * 20), (b"PLTE", bytes(768)), (b"tRNS", bytes(300))),
        Reason.DECODE_ERROR,
    ),
    "PNG without its palette": (png(16, 16, 1, 3, bytes(3 * 16)), Reason.DECODE_ERROR),
    "JPEG without its end": (JPEG[:-2], Reason.TRUNCATED),
    "JPEG that begins twice": (b"\xff\xd8" + JPEG, Reason.DECODE_ERROR),
    "JPEG behind blanks": (bytes(10) + JPEG, Reason.NOT_AN_IMAGE),
    "JPEG of no height": (resized(0, 64), Reason.DECODE_ERROR),
    "GIF without a frame": (b"GIF89a\x28\0\x28\0\0\0\0;", Reason.DECODE_ERROR),
    "PNG of size 0": (png(0, 0, 8, 2, b""), Reason.DECODE_ERROR),
    "WebP garbage": (WEBP[:20] + random.Random(0).randbytes(len(WEBP) - 20), Reason.DECODE_ERROR),
    "AVIF garbage": (AVIF[:60] + bytes(len(AVIF) - 60), Reason.DECODE_ERROR),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str):
    data, info = GOOD[name]
    assert inspect(data, LIMITS) == info
    assert decode_rgb(data).size == (info.width, info.height)


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str):
    data, reason = BAD[name]
    result = inspect(data, LIMITS)
    assert isinstance(result, Rejection)
    assert (result.reason, " at 0x" in result.detail) == (reason, False)  # no addresses of this process's memory


def test_enough_odd_files_are_tried():
    assert len(GOOD) + len(BAD) >= 70


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_ends_in_its_middle_is_never_taken_for_a_picture(name: str, share: float):
    result = inspect(WHOLE[name][: int(len(WHOLE[name]) * share)], LIMITS)
    assert isinstance(result, Rejection)
    assert result.reason in (Reason.TRUNCATED, Reason.DECODE_ERROR)
    if name in ("JPEG", "PNG", "WEBP"):
        assert result.reason is Reason.TRUNCATED


@pytest.mark.parametrize("name", WHOLE)
def test_what_the_gate_passes_decodes_without_help(name: str):
    with Image.open(BytesIO(WHOLE[name])) as image:
        image.load()


@given(st.binary(max_size=300))
def test_any_bytes_have_a_result(data: bytes):
    assert isinstance(inspect(data, LIMITS), ImageInfo | Rejection)


@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 10_000),
    st.binary(max_size=20),
)
def test_any_damage_to_a_picture_has_a_result(name: str, bytes_: list[tuple[int, int]], cut: int, tail: bytes):
    data = bytearray(WHOLE[name])
    for at, value in bytes_:
        data[at % len(data)] = value
    del data[max(12, cut) :]
    data += tail
    result = inspect(bytes(data), LIMITS)
    if isinstance(result, ImageInfo):
        assert decode_rgb(bytes(data)).size == (result.width, result.height)
    else:
        assert isinstance(result, Rejection)
        assert result.detail


@given(st.sampled_from(sorted(WHOLE)), st.binary(max_size=200))
def test_any_bytes_after_a_magic_have_a_result(name: str, rest: bytes):
    assert isinstance(inspect(WHOLE[name][:16] + rest, LIMITS), ImageInfo | Rejection)
