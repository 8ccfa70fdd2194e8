"""Draws scenes as pictures with Pillow.

The scene's seed is the only randomness: the same scene and size give the same picture.
"""

from random import Random

import numpy as np
from PIL import Image, ImageDraw

from laion_coco_assets.demo.backgrounds import background
from laion_coco_assets.demo.layout import layout
from laion_coco_assets.demo.pen import INK, RGB, Pen, mix
from laion_coco_assets.demo.scenes import Scene
from laion_coco_assets.demo.shapes import SHAPES

PAINT: dict[str, RGB] = {
    "red": (212, 34, 38),
    "orange": (247, 136, 18),
    "yellow": (252, 219, 44),
    "green": (38, 150, 62),
    "blue": (36, 84, 214),
    "purple": (126, 48, 172),
    "pink": (250, 134, 190),
    "white": (248, 248, 246),
}


def draw_scene(scene: Scene, width: int, height: int, supersample: int | None = None) -> Image.Image:
    """An RGB picture of `scene`, `width` x `height` pixels. It is drawn larger by `supersample`, then reduced."""
    factor = supersample or (2 if max(width, height) >= 300 else 3)
    rng = Random(f"look {scene.seed}")
    picture = background(scene.background, width * factor, height * factor, rng)
    draw = ImageDraw.Draw(picture)
    for thing in layout(scene, width, height):
        centre = (thing.x * width * factor, thing.y * height * factor)
        pen = Pen(draw, centre, thing.half_width * width * factor, tilt=thing.tilt, mirror=thing.mirror)
        hue = PAINT[thing.colour]
        SHAPES[thing.kind](pen, mix(hue, (255, 255, 255) if rng.random() < 0.5 else INK, rng.uniform(0, 0.08)))
    if factor > 1:
        picture = picture.reduce(factor)
    grain = np.random.Generator(np.random.Philox(scene.seed))
    light = rng.uniform(0.92, 1.06)
    noise = grain.normal(0, rng.uniform(1, 4), size=(height, width, 1))
    return Image.fromarray((np.asarray(picture) * light + noise).clip(0, 255).astype(np.uint8))
