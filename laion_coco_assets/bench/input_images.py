"""The images to measure with: from a folder, or drawn in sizes that are usual on the web."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from laion_coco_assets.errors import UserError
from laion_coco_assets.images.decode import decode_rgb

_SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"}
#: The most pixels of the longer side. All images are held decoded; a thousand from a camera would be 36 GB.
_LONGER: Final = 640


def load_images(folder: str, count: int) -> list[Image.Image]:
    """The folder's first `count` images by name, repeated if it has fewer. Without a folder, drawn images.

    RGB, as the stages see them, but with at most 640 pixels at the longer side.

    Raises:
        UserError: the folder does not exist, has no images, or an image cannot be read.
    """
    if not folder:
        return draw_images(count)
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"--images {folder}: not a folder")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise UserError(f"--images {folder}: no images in it ({', '.join(sorted(_SUFFIXES))})")
    images = []
    for file in files[:count]:
        try:
            image = decode_rgb(file.read_bytes())
        except (OSError, ValueError, MemoryError) as error:
            raise UserError(f"--images {folder}: {file.relative_to(root)} cannot be read ({error})") from error
        image.thumbnail((_LONGER, _LONGER))
        images.append(image)
    return [images[number % len(images)] for number in range(count)]


def draw_images(count: int) -> list[Image.Image]:
    """Smooth random pictures in RGB, 640 pixels at the longer side. Always the same ones."""
    generator = np.random.default_rng(0)
    images = []
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        shorter = int(generator.integers(360, _LONGER))
        images.append(coarse.resize((_LONGER, shorter), Image.Resampling.BICUBIC))
    return images
