"""The training set as arrays on disk: pictures drawn once, and what is in each cell of an 8 x 8 grid over them."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from laion_coco_assets.demo.drawing import draw_scene
from laion_coco_assets.demo.layout import layout
from laion_coco_assets.demo.scenes import COLOURS, KINDS, Scene, Split, random_scene

GRID = 8
KIND_NUMBER = {kind: number for number, kind in enumerate(sorted(KINDS), 1)}
COLOUR_NUMBER = {colour: number for number, colour in enumerate(sorted(COLOURS), 1)}


@dataclass(frozen=True)
class TrainingPictures:
    """`images`: uint8 (n, size, size, 3); `cells`: uint8 (n, 8, 8, 3) with kind, colour (0: none) and 1 at centres."""

    scenes: list[Scene]
    images: npt.NDArray[np.uint8]
    cells: npt.NDArray[np.uint8]


def _canvas(rng: Random) -> tuple[int, int]:
    aspect = 2 ** rng.uniform(-0.9, 0.9)
    return round(192 * aspect**0.5), round(192 / aspect**0.5)


def _cells(scene: Scene, width: int, height: int) -> npt.NDArray[np.uint8]:
    cells = np.zeros((GRID, GRID, 3), np.uint8)
    middles = (np.arange(GRID) + 0.5) / GRID
    for thing in layout(scene, width, height):
        across = np.abs(middles - thing.x) < thing.half_width * 0.8
        down = np.abs(middles - thing.y) < thing.half_height * 0.8
        row, column = int(thing.y * GRID), int(thing.x * GRID)
        down[row] = across[column] = True
        cells[np.ix_(down, across)] = (KIND_NUMBER[thing.kind], COLOUR_NUMBER[thing.colour], 0)
        cells[row, column, 2] = 1
    return cells


def draw_training_pictures(folder: Path, size: int, count: int, split: Split, seed: int) -> TrainingPictures:
    """`count` pictures of `split`, resized to `size` x `size` (bicubic). They are drawn once, then mapped from `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    images_path = folder / f"{split}-{seed}-{count}-{size}.npy"
    rng = Random(f"pictures {split} {seed}")
    scenes = [random_scene(rng, split) for _ in range(count)]
    canvases = [_canvas(rng) for _ in range(count)]
    if not images_path.exists():
        unfinished = images_path.with_suffix(".part")
        images = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
        for index, (scene, (width, height)) in enumerate(zip(scenes, canvases, strict=True)):
            picture = draw_scene(scene, width, height, supersample=1)
            images[index] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
        images.flush()
        del images
        unfinished.rename(images_path)
    cells = np.stack([_cells(scene, *canvas) for scene, canvas in zip(scenes, canvases, strict=True)])
    return TrainingPictures(scenes, np.load(images_path, mmap_mode="r"), cells)
