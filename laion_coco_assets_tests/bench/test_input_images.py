"""A folder of any images to measure with: read as the stages read them, small in memory, and one error for what is none."""

import zlib
from pathlib import Path

import pytest
from PIL import Image

from laion_coco_assets.bench.input_images import load_images
from laion_coco_assets.errors import UserError
from laion_coco_assets_tests.images.pictures import AVIF, JPEG, encoded, png, scene

BAD = {
    "too many pixels for Pillow": png(14_000, 14_000, 8, 2, b""),
    "a comment of 5 MB": png(20, 20, 8, 2, bytes(61 * 20), (b"zTXt", b"C\0\0" + zlib.compress(bytes(5_000_000)))),
    "cut short": JPEG[:300],
    "more transparencies than a palette has": png(
        20, 20, 8, 3, bytes(21 * 20), (b"PLTE", bytes(768)), (b"tRNS", bytes(300))
    ),
    "no picture": b"<html>",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_can_not_be_read_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "more" / "b.png").write_bytes(data)
    assert len(load_images(str(tmp_path), 1)) == 1, "only those that are asked for are read"
    with pytest.raises(UserError, match=r"--images .*: more.b\.png cannot be read \(.+\)"):
        load_images(str(tmp_path), 2)


def test_images_are_upright_rgb_and_no_larger_than_drawn_ones(tmp_path: Path) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    (tmp_path / "1.jpg").write_bytes(encoded(scene(3000, 1500), "JPEG", exif=sideways))
    (tmp_path / "2.png").write_bytes(encoded(scene().convert("P"), "PNG"))
    (tmp_path / "3.avif").write_bytes(AVIF)
    images = load_images(str(tmp_path), 4)
    assert [each.size for each in images] == [(320, 640), (64, 48), (64, 48), (320, 640)]
    assert {each.mode for each in images} == {"RGB"}
