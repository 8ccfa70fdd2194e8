"""Every kind of picture becomes the RGB that one sees: pixel values are stated, not computed by the code under test."""

import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from laion_coco_assets.images.decode import decode_rgb
from laion_coco_assets_tests.images.pictures import GIF, JPEG, PNG, WEBP, encoded, png

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def pixels(data: bytes) -> list[tuple[int, ...]]:
    image = decode_rgb(data)
    assert image.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()]


def near(got: tuple[int, ...], wanted: tuple[int, ...], by: int = 6) -> bool:
    return all(abs(a - b) <= by for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("data", [JPEG, PNG, WEBP, GIF])
def test_the_formats_agree(data: bytes):
    image = decode_rgb(data)
    assert near(image.getpixel((5, 5)), (220, 30, 30))
    assert near(image.getpixel((5, 43)), (30, 30, 220))


@pytest.mark.parametrize(
    ("ink", "seen"),
    [
        ((0, 0, 0, 0), WHITE),
        ((0, 0, 0, 255), BLACK),
        ((0, 255, 255, 0), RED),
        ((255, 0, 255, 0), GREEN),
        ((0, 0, 0, 128), (127, 127, 127)),
    ],
)
def test_cmyk_jpeg_with_adobes_inverted_samples(ink: tuple[int, ...], seen: tuple[int, ...]):
    data = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    assert b"Adobe" in data
    assert all(near(pixel, seen, 2) for pixel in pixels(data))


def test_greyscale_jpeg():
    assert all(near(pixel, (77, 77, 77), 1) for pixel in pixels(encoded(Image.new("L", (16, 16), 77), "JPEG")))


def test_sixteen_bit_greyscale_keeps_its_upper_byte():
    data = png(4, 1, 16, 0, b"\0" + struct.pack(">4H", 0, 0x1234, 0x80FF, 0xFFFF))
    assert pixels(data) == [(0,) * 3, (0x12,) * 3, (0x80,) * 3, (255,) * 3]


def test_sixteen_bit_greyscale_with_one_transparent_grey():
    data = png(3, 1, 16, 0, b"\0" + struct.pack(">3H", 0x1234, 0x1235, 0), (b"tRNS", struct.pack(">H", 0x1234)))
    assert pixels(data) == [WHITE, (0x12,) * 3, BLACK]


def test_sixteen_bit_colour_and_alpha():
    colour = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0xFFFF, 0x8000, 0, 0, 0, 0xFFFF))
    assert pixels(colour) == [(255, 128, 0), BLUE]
    clear = png(2, 1, 16, 6, b"\0" + struct.pack(">8H", 0xFFFF, 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0))
    assert pixels(clear) == [RED, WHITE]


def test_alpha_is_seen_over_white():
    image = Image.new("RGBA", (3, 1))
    for x, pixel in enumerate([(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 51)]):
        image.putpixel((x, 0), pixel)
    assert pixels(encoded(image, "PNG")) == [RED, WHITE, (204, 204, 204)]
    assert pixels(encoded(image, "WEBP", lossless=True, exact=True)) == [RED, WHITE, (204, 204, 204)]


def test_greyscale_with_alpha():
    image = Image.new("LA", (2, 1))
    image.putpixel((0, 0), (100, 255))
    image.putpixel((1, 0), (100, 0))
    assert pixels(encoded(image, "PNG")) == [(100, 100, 100), WHITE]


def palette() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    return image


def test_palette():
    assert pixels(encoded(palette(), "PNG")) == [RED, GREEN, BLUE]


def test_palette_with_one_transparent_colour():
    assert pixels(encoded(palette(), "PNG", transparency=1)) == [RED, WHITE, BLUE]
    assert pixels(encoded(palette(), "GIF", transparency=1)) == [RED, WHITE, BLUE]


def test_palette_with_an_alpha_for_each_colour():
    assert pixels(encoded(palette(), "PNG", transparency=bytes([255, 0, 127]))) == [RED, WHITE, (128, 128, 255)]


def test_colour_and_grey_with_one_transparent_value():
    colour = png(2, 1, 8, 2, b"\0" + bytes([*RED, *BLUE]), (b"tRNS", struct.pack(">3H", *RED)))
    assert pixels(colour) == [WHITE, BLUE]
    grey = png(2, 1, 8, 0, b"\0" + bytes([10, 20]), (b"tRNS", struct.pack(">H", 10)))
    assert pixels(grey) == [WHITE, (20, 20, 20)]


def test_one_bit():
    assert pixels(png(8, 1, 1, 0, b"\0" + bytes([0b10000001]))) == [WHITE, *[BLACK] * 6, WHITE]


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_is_seen(format_: str):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"quality": 100} if format_ == "AVIF" else {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
    assert all(near(pixel, RED) for pixel in pixels(data))


@pytest.mark.parametrize(
    ("orientation", "seen"),
    # stored: red green / blue white
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
        (9, [RED, GREEN, BLUE, WHITE]),
    ],
)
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "JPEG"])
def test_exif_orientation(format_: str, orientation: int, seen: list[tuple[int, int, int]]):
    image = Image.new("RGB", (32, 32))
    for at, colour in zip([(0, 0), (16, 0), (0, 16), (16, 16)], [RED, GREEN, BLUE, WHITE], strict=True):
        image.paste(colour, (*at, at[0] + 16, at[1] + 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}[format_]
    upright = decode_rgb(encoded(image, format_, exif=exif, **options))
    corners = [upright.getpixel(at) for at in [(4, 4), (28, 4), (4, 28), (28, 28)]]
    assert all(near(got, wanted) for got, wanted in zip(corners, seen, strict=True))


def test_an_orientation_keeps_the_transparent_colour():
    exif = Image.Exif()
    exif[0x0112] = 2
    assert pixels(encoded(palette(), "PNG", transparency=0, exif=exif)) == [BLUE, GREEN, WHITE]


TOO_TRANSPARENT = png(20, 20, 8, 3, bytes(21 * 20), (b"PLTE", bytes(768)), (b"tRNS", bytes(300)))


@pytest.mark.parametrize("data", [b"", b"<html>", JPEG[:200], b"BM" + b"\0" * 60, TOO_TRANSPARENT])
def test_what_is_no_picture_is_one_error(data: bytes):
    with pytest.raises(ValueError, match="not a readable picture"):
        decode_rgb(data)


def test_threads_leave_the_process_its_warnings():
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(decode_rgb, [JPEG, PNG, WEBP, GIF] * 50))
    assert warnings.filters == before
