"""Scenes as pictures: where things lie (`layout`) and how they are drawn with Pillow (`draw_scene`).

No randomness but the scene's own seed: the same scene and size is the same picture.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from laion_coco_assets.demo.scenes import Scene

RGB = tuple[int, int, int]
Point = tuple[float, float]

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
INK: RGB = (38, 34, 40)
WOOD: RGB = (120, 78, 46)
GLASS: RGB = (196, 226, 240)
LEAF: RGB = (44, 110, 52)
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
    """Where every thing of `scene` lies in a picture of that many pixels."""
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


def _mix(one: RGB, other: RGB, share: float) -> RGB:
    r, g, b = (round(a + (c - a) * share) for a, c in zip(one, other, strict=True))
    return r, g, b


class Pen:
    """Draws in a thing's own square, x and y from -1 to 1, y downwards."""

    def __init__(self, draw: ImageDraw.ImageDraw, centre: Point, half: float, *, tilt: float, mirror: bool) -> None:
        self._draw, self._centre, self._half = draw, centre, half
        self._cos, self._sin, self._sign = math.cos(tilt), math.sin(tilt), -1 if mirror else 1
        self._line = max(1, round(half * 0.05))

    def _to_picture(self, points: Sequence[Point]) -> Iterator[Point]:
        for across, y in points:
            x = across * self._sign
            yield (
                self._centre[0] + self._half * (x * self._cos - y * self._sin),
                self._centre[1] + self._half * (x * self._sin + y * self._cos),
            )

    def polygon(self, points: Sequence[Point], fill: RGB, *, outline: bool = True) -> None:
        """A filled polygon, with a thin dark edge unless `outline` is off."""
        corners = list(self._to_picture(points))
        self._draw.polygon(corners, fill=fill)
        if outline:
            self._draw.line([*corners, corners[0]], fill=_mix(fill, INK, 0.75), width=self._line, joint="curve")

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: RGB, *, outline: bool = True) -> None:
        """A filled ellipse."""
        self.polygon(arc(x, y, rx, ry, 0, 360), fill, outline=outline)

    def line(self, points: Sequence[Point], fill: RGB, width: float = 0.08) -> None:
        """An open line; `width` in the thing's own unit."""
        pixels = max(1, round(width * self._half))
        self._draw.line(list(self._to_picture(points)), fill=fill, width=pixels, joint="curve")


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    """Points on an ellipse from `start` to `end` degrees, clockwise from the right."""
    steps = max(4, int(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _cat(pen: Pen, paint: RGB) -> None:
    shade = _mix(paint, INK, 0.25)
    pen.line(arc(0.5, 0.45, 0.38, 0.42, 100, -60), shade, 0.17)
    pen.ellipse(0.05, 0.52, 0.52, 0.46, paint)
    pen.polygon([(-0.62, -0.92), (-0.12, -0.62), (-0.58, -0.3)], paint)
    pen.polygon([(0.52, -0.92), (0.02, -0.62), (0.48, -0.3)], paint)
    pen.ellipse(-0.05, -0.3, 0.55, 0.46, paint)
    for x in (-0.27, 0.17):
        pen.ellipse(x, -0.36, 0.1, 0.12, INK, outline=False)
    pen.polygon([(-0.12, -0.2), (0.02, -0.2), (-0.05, -0.1)], _mix(paint, INK, 0.6), outline=False)
    for side in (-1, 1):
        for tilt in (-0.06, 0.06):
            pen.line([(-0.05 + side * 0.25, -0.1), (-0.05 + side * 0.75, -0.1 + tilt)], INK, 0.03)
    pen.ellipse(-0.22, 0.9, 0.18, 0.1, paint)
    pen.ellipse(0.25, 0.9, 0.18, 0.1, paint)


def _tree(pen: Pen, paint: RGB) -> None:
    pen.polygon([(-0.13, 1), (0.13, 1), (0.1, 0.1), (-0.1, 0.1)], WOOD)
    for x, y, r in ((-0.4, 0.0, 0.42), (0.4, 0.02, 0.42), (0.0, -0.5, 0.48)):
        pen.ellipse(x, y, r, r * 0.95, paint)
    pen.ellipse(0.0, -0.15, 0.5, 0.42, paint, outline=False)
    for x, y in ((-0.3, -0.1), (0.25, -0.3), (0.0, -0.6)):
        pen.ellipse(x, y, 0.1, 0.08, _mix(paint, INK, 0.2), outline=False)


def _house(pen: Pen, paint: RGB) -> None:
    pen.polygon([(0.35, -0.85), (0.58, -0.85), (0.58, -0.3), (0.35, -0.4)], WOOD)
    pen.polygon([(-0.75, -0.15), (0.75, -0.15), (0.75, 0.95), (-0.75, 0.95)], paint)
    pen.polygon([(-0.98, -0.1), (0, -0.95), (0.98, -0.1)], _mix(paint, INK, 0.4))
    pen.polygon([(-0.15, 0.95), (-0.15, 0.38), (0.15, 0.38), (0.15, 0.95)], WOOD)
    for x in (-0.47, 0.47):
        pen.polygon([(x - 0.17, 0.1), (x + 0.17, 0.1), (x + 0.17, 0.42), (x - 0.17, 0.42)], GLASS)


def _car(pen: Pen, paint: RGB) -> None:
    pen.polygon([(-0.55, 0.0), (-0.32, -0.48), (0.3, -0.48), (0.6, 0.0)], paint)
    pen.polygon([(-0.4, 0.0), (-0.24, -0.36), (-0.03, -0.36), (-0.03, 0.0)], GLASS)
    pen.polygon([(0.06, 0.0), (0.06, -0.36), (0.24, -0.36), (0.45, 0.0)], GLASS)
    body = [(-0.98, 0.05), (-0.85, -0.04), (0.75, -0.04), (0.98, 0.12), (0.98, 0.45), (-0.98, 0.45)]
    pen.polygon(body, paint)
    for x in (-0.55, 0.55):
        pen.ellipse(x, 0.45, 0.25, 0.25, INK)
        pen.ellipse(x, 0.45, 0.11, 0.11, (190, 190, 195), outline=False)


def _ball(pen: Pen, paint: RGB) -> None:
    pen.ellipse(0, 0, 0.86, 0.86, paint)
    shade = _mix(paint, INK, 0.3)
    pen.line(arc(-0.75, 0, 0.75, 0.9, -55, 55), shade, 0.07)
    pen.line(arc(0.85, 0, 0.75, 0.9, 125, 235), shade, 0.07)
    pen.ellipse(-0.32, -0.45, 0.17, 0.12, _mix(paint, (255, 255, 255), 0.7), outline=False)


def _star(pen: Pen, paint: RGB) -> None:
    points = []
    for corner in range(10):
        radius, angle = (0.98 if corner % 2 == 0 else 0.42), math.radians(36 * corner - 90)
        points.append((radius * math.cos(angle), radius * math.sin(angle) + 0.06))
    pen.polygon(points, paint)


def _boat(pen: Pen, paint: RGB) -> None:
    pen.line([(0, 0.4), (0, -0.95)], WOOD, 0.09)
    pen.polygon([(0.07, -0.9), (0.07, 0.22), (0.75, 0.22)], (252, 250, 240))
    pen.polygon([(-0.07, -0.75), (-0.07, 0.22), (-0.55, 0.22)], (232, 230, 222))
    pen.polygon([(-0.95, 0.35), (0.95, 0.35), (0.62, 0.88), (-0.65, 0.88)], paint)
    pen.line([(-0.82, 0.52), (0.84, 0.52)], _mix(paint, INK, 0.35), 0.06)


def _cup(pen: Pen, paint: RGB) -> None:
    pen.ellipse(0.58, 0.1, 0.36, 0.38, paint)
    pen.ellipse(0.58, 0.1, 0.17, 0.19, _mix(paint, INK, 0.55))
    pen.polygon([(-0.7, -0.55), (0.58, -0.55), (0.46, 0.75), (-0.58, 0.75)], paint)
    pen.ellipse(-0.06, -0.55, 0.64, 0.2, _mix(paint, INK, 0.45))
    for x in (-0.25, 0.12):
        pen.line([(x, -0.75), (x + 0.07, -0.85), (x, -0.97)], (225, 225, 228), 0.05)


def _fish(pen: Pen, paint: RGB) -> None:
    shade = _mix(paint, INK, 0.25)
    pen.polygon([(0.4, 0.0), (0.97, -0.5), (0.84, 0.0), (0.97, 0.5)], shade)
    pen.polygon([(-0.25, -0.35), (0.2, -0.72), (0.35, -0.25)], shade)
    pen.ellipse(-0.2, 0, 0.75, 0.46, paint)
    pen.line(arc(-0.75, 0, 0.42, 0.6, -35, 35), shade, 0.06)
    pen.polygon([(-0.05, 0.05), (0.28, 0.3), (0.28, -0.08)], shade, outline=False)
    pen.ellipse(-0.62, -0.12, 0.11, 0.11, (255, 255, 255))
    pen.ellipse(-0.64, -0.12, 0.06, 0.06, INK, outline=False)


def _flower(pen: Pen, paint: RGB) -> None:
    pen.line([(0, 0.98), (0.04, 0.4), (0, -0.2)], LEAF, 0.1)
    pen.polygon([(0.03, 0.75), (0.3, 0.4), (0.6, 0.42), (0.4, 0.7)], LEAF)
    pen.polygon([(0.03, 0.9), (-0.25, 0.55), (-0.55, 0.6), (-0.35, 0.85)], LEAF)
    for petal in range(6):
        angle = math.radians(60 * petal)
        pen.ellipse(0.37 * math.cos(angle), -0.38 + 0.37 * math.sin(angle), 0.27, 0.27, paint)
    pen.ellipse(0, -0.38, 0.22, 0.22, (110, 70, 30))


def _umbrella(pen: Pen, paint: RGB) -> None:
    pen.line([(0, -0.9), (0, 0.75)], (96, 92, 98), 0.08)
    pen.line(arc(0.17, 0.72, 0.17, 0.2, 180, 10), (96, 92, 98), 0.1)
    rim = []
    for scallop in (0.66, 0.0, -0.66):
        rim += arc(scallop, 0.05, 0.32, 0.14, 0, -180)
    pen.polygon([*arc(0, 0.05, 0.98, 0.86, 180, 360), *rim], paint)
    for x in (-0.33, 0.33):
        pen.line([(x, -0.02), (x * 0.55, -0.5), (0, -0.8)], _mix(paint, INK, 0.4), 0.04)


def _kite(pen: Pen, paint: RGB) -> None:
    tail = [(0.1, 0.35), (0.28, 0.55), (0.12, 0.72), (0.34, 0.96)]
    pen.line(tail, INK, 0.05)
    shade = _mix(paint, INK, 0.35)
    for x, y in tail[1:]:
        pen.polygon(
            [(x - 0.13, y - 0.08), (x - 0.13, y + 0.08), (x + 0.13, y - 0.08), (x + 0.13, y + 0.08)],
            shade,
            outline=False,
        )
    pen.polygon([(0, -0.98), (0.62, -0.35), (0.1, 0.42), (-0.62, -0.35)], paint)
    pen.polygon([(0, -0.98), (0.62, -0.35), (0.02, -0.33)], shade, outline=False)
    pen.polygon([(0.1, 0.42), (-0.62, -0.35), (0.02, -0.33)], shade, outline=False)


SHAPES: dict[str, Callable[[Pen, RGB], None]] = {
    "cat": _cat,
    "tree": _tree,
    "house": _house,
    "car": _car,
    "ball": _ball,
    "star": _star,
    "boat": _boat,
    "cup": _cup,
    "fish": _fish,
    "flower": _flower,
    "umbrella": _umbrella,
    "kite": _kite,
}


def _gradient(width: int, height: int, *stops: RGB) -> Image.Image:
    column = Image.new("RGB", (1, len(stops)))
    column.putdata(stops)
    return column.resize((width, height), Image.Resampling.BILINEAR)


def _land(picture: Image.Image, horizon: float, near: RGB, far: RGB) -> int:
    """Paints the ground below `horizon` (share of the height) and returns the horizon in pixels."""
    width, height = picture.size
    top = round(horizon * height)
    picture.paste(_gradient(width, height - top, far, near), (0, top))
    return top


def _specks(picture: Image.Image, rng: Random, count: int, sizes: tuple[float, float], fill: RGB) -> None:
    width, height = picture.size
    unit = min(width, height)
    draw = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), unit * rng.uniform(*sizes)
        draw.ellipse([x - size, y - size, x + size, y + size], fill=fill)


def _meadow(picture: Image.Image, horizon: float, rng: Random) -> None:
    width, height = picture.size
    unit = min(width, height)
    top = _land(picture, horizon, (92, 156, 66), (142, 192, 104))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = rng.uniform(0, width), rng.uniform(top, height)
        draw.line([(x, y), (x + unit * 0.01, y - unit * 0.03)], fill=(70, 128, 54), width=max(1, unit // 150))


def _beach(picture: Image.Image, horizon: float, rng: Random) -> None:
    width, height = picture.size
    top = _land(picture, horizon * 0.8, (52, 130, 176), (84, 160, 196))
    _land(picture, horizon * 0.8 + 0.14, (226, 196, 136), (240, 220, 172))
    draw = ImageDraw.Draw(picture)
    for _ in range(30):
        x, y = rng.uniform(0, width), rng.uniform(top + 0.16 * height, height)
        draw.point([(x, y), (x + 1, y)], fill=(190, 158, 104))


def _sea(picture: Image.Image, horizon: float, rng: Random) -> None:
    width, height = picture.size
    unit = min(width, height)
    top = _land(picture, horizon * 0.7, (18, 74, 128), (62, 132, 178))
    draw = ImageDraw.Draw(picture)
    for _ in range(26):
        x, y, size = rng.uniform(0, width), rng.uniform(top, height), unit * rng.uniform(0.03, 0.07)
        draw.arc([x, y, x + 2 * size, y + size * 0.7], 200, 340, fill=(132, 184, 214), width=max(1, unit // 160))


def _night(picture: Image.Image, _horizon: float, rng: Random) -> None:
    picture.paste(_gradient(*picture.size, (10, 12, 40), (24, 26, 66), (46, 44, 92)))
    _specks(picture, rng, 60, (0.001, 0.004), (214, 214, 230))


def _room(picture: Image.Image, horizon: float, rng: Random) -> None:
    width, height = picture.size
    wall = rng.choice(((206, 190, 172), (190, 200, 196), (212, 200, 206)))
    picture.paste(_gradient(width, height, _mix(wall, (255, 255, 255), 0.2), wall))
    draw = ImageDraw.Draw(picture)
    for stripe in range(9):
        x = (stripe + 0.5) * width / 9
        draw.line([(x, 0), (x, height)], fill=_mix(wall, INK, 0.1), width=max(1, min(width, height) // 60))
    top = _land(picture, 0.5 + horizon / 2, (128, 92, 62), (152, 112, 78))
    draw.rectangle([0, top - height // 40, width, top], fill=(240, 236, 228))


def _snow(picture: Image.Image, horizon: float, rng: Random) -> None:
    picture.paste(_gradient(*picture.size, (176, 196, 214), (206, 218, 228)))
    _land(picture, horizon, (214, 222, 232), (232, 238, 244))
    _specks(picture, rng, 70, (0.003, 0.008), (255, 255, 255))


def _desert(picture: Image.Image, horizon: float, rng: Random) -> None:
    width, height = picture.size
    unit = min(width, height)
    picture.paste(_gradient(width, height, (238, 206, 150), (248, 230, 190)))
    top = _land(picture, horizon, (178, 112, 62), (206, 146, 92))
    draw = ImageDraw.Draw(picture)
    for _ in range(3):
        x, y, size = rng.uniform(0, width), rng.uniform(top, height), unit * rng.uniform(0.3, 0.7)
        draw.arc([x - size, y, x + size, y + size * 0.6], 190, 350, fill=(160, 98, 52), width=max(1, unit // 90))


def _street(picture: Image.Image, horizon: float, rng: Random) -> None:
    width, height = picture.size
    draw = ImageDraw.Draw(picture)
    x = 0.0
    while x < width:
        step = min(width, height) * rng.uniform(0.1, 0.22)
        roof = height * (horizon - rng.uniform(0.08, 0.26))
        grey = rng.randint(140, 180)
        draw.rectangle([x, roof, x + step, height], fill=(grey, grey, grey + 8))
        x += step
    top = _land(picture, horizon, (92, 92, 96), (118, 118, 122))
    for dash in range(6):
        x, y = dash * width / 5.5, (top + height) / 2
        draw.rectangle([x, y, x + width / 11, y + max(1, height / 60)], fill=(222, 222, 218))


PLACES: dict[str, Callable[[Image.Image, float, Random], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "sea": _sea,
    "night": _night,
    "room": _room,
    "snow": _snow,
    "desert": _desert,
    "street": _street,
}


def _background(kind: str, width: int, height: int, rng: Random) -> Image.Image:
    picture = _gradient(width, height, (142, 196, 236), (206, 230, 244))
    PLACES[kind](picture, rng.uniform(0.3, 0.6), rng)
    return picture


def draw_scene(scene: Scene, width: int, height: int, supersample: int | None = None) -> Image.Image:
    """An RGB picture of `scene`, `width` x `height` pixels, drawn larger by `supersample` and reduced."""
    factor = supersample or (2 if max(width, height) >= 300 else 3)
    rng = Random(f"look {scene.seed}")
    picture = _background(scene.background, width * factor, height * factor, rng)
    draw = ImageDraw.Draw(picture)
    for thing in layout(scene, width, height):
        centre = (thing.x * width * factor, thing.y * height * factor)
        pen = Pen(draw, centre, thing.half_width * width * factor, tilt=thing.tilt, mirror=thing.mirror)
        hue = PAINT[thing.colour]
        SHAPES[thing.kind](pen, _mix(hue, (255, 255, 255) if rng.random() < 0.5 else INK, rng.uniform(0, 0.08)))
    if factor > 1:
        picture = picture.reduce(factor)
    grain = np.random.Generator(np.random.Philox(scene.seed))
    light = rng.uniform(0.92, 1.06)
    noise = grain.normal(0, rng.uniform(1, 4), size=(height, width, 1))
    return Image.fromarray((np.asarray(picture) * light + noise).clip(0, 255).astype(np.uint8))
