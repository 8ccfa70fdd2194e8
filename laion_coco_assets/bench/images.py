"""Images to measure with: a folder's, or drawn ones of the sizes that the web has."""

from pathlib import Path

import numpy as np
from PIL import Image

from laion_coco_assets.errors import UserError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


def load_images(folder: str, count: int) -> list[Image.Image]:
    """The folder's first images by name, repeated if there are fewer; drawn ones when no folder is named.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if not folder:
        return draw_images(count)
    place = Path(folder)
    if not place.is_dir():
        raise UserError(f"--images {folder}: not a folder")
    files = sorted(each for each in place.rglob("*") if each.suffix.lower() in _SUFFIXES)
    if not files:
        raise UserError(f"--images {folder}: no images in it ({', '.join(sorted(_SUFFIXES))})")
    images = []
    for file in files[:count]:
        try:
            images.append(Image.open(file).convert("RGB"))
        except OSError as error:
            raise UserError(f"--images {folder}: {file.name} can not be read ({error})") from error
    return [images[place % len(images)] for place in range(count)]


def draw_images(count: int, seed: int = 0) -> list[Image.Image]:
    """Smooth random pictures, 640 pixels at the longer side, RGB."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        shorter = int(generator.integers(360, 640))
        images.append(coarse.resize((640, shorter), Image.Resampling.BICUBIC))
    return images
