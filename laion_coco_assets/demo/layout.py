"""Decides where the things of a scene are in its picture.

The scene's seed is the only randomness: the same scene and size give the same layout.
"""

import math
from dataclasses import dataclass
from random import Random

from laion_coco_assets.demo.scenes import Scene

MAX_TILT = math.radians(9)


@dataclass(frozen=True)
class Placement:
    """One thing in the picture: centre and half size as shares of width and height."""

    kind: str
    colour: str
    x: float
    y: float
    half_width: float
    half_height: float
    tilt: float
    mirror: bool


def _cells(count: int, width: float, height: float, rng: Random) -> list[tuple[float, float, float, float]]:
    """Centres and sizes, in pixels, of `count` cells in a region."""
    ratio = width / height
    if count == 1:
        rows = [1]
    elif ratio > 1.7 or (count == 2 and ratio * rng.uniform(0.7, 1.4) > 1):
        rows = [count]
    elif ratio < 1 / 1.7 or count == 2:
        rows = [1] * count
    else:
        rows = [2, 2] if count == 4 else rng.choice(([1, 2], [2, 1]))
    cells = []
    for row, columns in enumerate(rows):
        cell_width = width / max(rows)
        for column in range(columns):
            x = (column + 0.5 + (max(rows) - columns) / 2) * cell_width
            cells.append((x, (row + 0.5) * height / len(rows), cell_width, height / len(rows)))
    return cells


def layout(scene: Scene, width: int, height: int) -> list[Placement]:
    """Where every thing of `scene` is in a picture of `width` x `height` pixels."""
    rng = Random(f"layout {scene.seed}")
    middle = rng.uniform(0.46, 0.54)
    low, high, gap = 0.04, 0.96, 0.02
    first_half: dict[str | None, tuple[float, float, float, float]] = {
        None: (low, low, high, high),
        "left": (low, low, middle - gap, high),
        "right": (middle + gap, low, high, high),
        "above": (low, low, high, middle - gap),
        "below": (low, middle + gap, high, high),
    }
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above", None: None}
    regions = (first_half[scene.relation], first_half[opposite[scene.relation]])
    placements = []
    for group, (left, top, right, bottom) in zip(scene.groups, regions, strict=False):
        region_width, region_height = (right - left) * width, (bottom - top) * height
        scale = rng.uniform(0.78, 0.98)
        for middle_x, middle_y, cell_width, cell_height in _cells(group.count, region_width, region_height, rng):
            size = scale * rng.uniform(0.92, 1.0) * min(cell_width, cell_height, 0.62 * min(width, height))
            slack_x = min((cell_width - size) / 2, 0.16 * width)
            slack_y = min((cell_height - size) / 2, 0.16 * height)
            x = left * width + middle_x + rng.uniform(-1, 1) * slack_x
            y = top * height + middle_y + rng.uniform(-1, 1) * slack_y
            placements.append(
                Placement(
                    group.kind,
                    group.colour,
                    x / width,
                    y / height,
                    size / 2 / width,
                    size / 2 / height,
                    rng.uniform(-MAX_TILT, MAX_TILT),
                    rng.random() < 0.5,
                )
            )
    return placements
