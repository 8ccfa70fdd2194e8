"""Images to measure with: a folder's, or drawn ones of the sizes that the web has."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from laion_coco_assets.errors import UserError
from laion_coco_assets.images.decode import decode_rgb

_SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"}
#: Pixels of the longer side, at most. All images are held decoded: a thousand of a camera's would be 36 GB.
_LONGER: Final = 640


def load_images(folder: str, count: int) -> list[Image.Image]:
    """The folder's first images by name, repeated if there are fewer; drawn ones when no folder is named.

    RGB, as the stages see them, but shrunk to 640 pixels at the longer side.

    Raises:
        UserError: no such folder, no image in it, or one that can not be read.
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
            image = decode_rgb(file.read_bytes())
        except (OSError, ValueError, MemoryError) as error:
            raise UserError(f"--images {folder}: {file.relative_to(place)} can not be read ({error})") from error
        image.thumbnail((_LONGER, _LONGER))
        images.append(image)
    return [images[place % len(images)] for place in range(count)]


def draw_images(count: int, seed: int = 0) -> list[Image.Image]:
    """Smooth random pictures, 640 pixels at the longer side, RGB."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        shorter = int(generator.integers(360, _LONGER))
        images.append(coarse.resize((_LONGER, shorter), Image.Resampling.BICUBIC))
    return images
