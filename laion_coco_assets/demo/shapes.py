"""Draws each kind of thing in its own square, in any colour."""

import math
from collections.abc import Callable

from laion_coco_assets.demo.pen import INK, RGB, Pen, arc, mix

WOOD: RGB = (120, 78, 46)
GLASS: RGB = (196, 226, 240)
LEAF: RGB = (44, 110, 52)


def _cat(pen: Pen, paint: RGB) -> None:
    shade = mix(paint, INK, 0.25)
    pen.line(arc(0.5, 0.45, 0.38, 0.42, 100, -60), shade, 0.17)
    pen.ellipse(0.05, 0.52, 0.52, 0.46, paint)
    pen.polygon([(-0.62, -0.92), (-0.12, -0.62), (-0.58, -0.3)], paint)
    pen.polygon([(0.52, -0.92), (0.02, -0.62), (0.48, -0.3)], paint)
    pen.ellipse(-0.05, -0.3, 0.55, 0.46, paint)
    for x in (-0.27, 0.17):
        pen.ellipse(x, -0.36, 0.1, 0.12, INK, outline=False)
    pen.polygon([(-0.12, -0.2), (0.02, -0.2), (-0.05, -0.1)], mix(paint, INK, 0.6), outline=False)
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
        pen.ellipse(x, y, 0.1, 0.08, mix(paint, INK, 0.2), outline=False)


def _house(pen: Pen, paint: RGB) -> None:
    pen.polygon([(0.35, -0.85), (0.58, -0.85), (0.58, -0.3), (0.35, -0.4)], WOOD)
    pen.polygon([(-0.75, -0.15), (0.75, -0.15), (0.75, 0.95), (-0.75, 0.95)], paint)
    pen.polygon([(-0.98, -0.1), (0, -0.95), (0.98, -0.1)], mix(paint, INK, 0.4))
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
    shade = mix(paint, INK, 0.3)
    pen.line(arc(-0.75, 0, 0.75, 0.9, -55, 55), shade, 0.07)
    pen.line(arc(0.85, 0, 0.75, 0.9, 125, 235), shade, 0.07)
    pen.ellipse(-0.32, -0.45, 0.17, 0.12, mix(paint, (255, 255, 255), 0.7), outline=False)


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
    pen.line([(-0.82, 0.52), (0.84, 0.52)], mix(paint, INK, 0.35), 0.06)


def _cup(pen: Pen, paint: RGB) -> None:
    pen.ellipse(0.58, 0.1, 0.36, 0.38, paint)
    pen.ellipse(0.58, 0.1, 0.17, 0.19, mix(paint, INK, 0.55))
    pen.polygon([(-0.7, -0.55), (0.58, -0.55), (0.46, 0.75), (-0.58, 0.75)], paint)
    pen.ellipse(-0.06, -0.55, 0.64, 0.2, mix(paint, INK, 0.45))
    for x in (-0.25, 0.12):
        pen.line([(x, -0.75), (x + 0.07, -0.85), (x, -0.97)], (225, 225, 228), 0.05)


def _fish(pen: Pen, paint: RGB) -> None:
    shade = mix(paint, INK, 0.25)
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
        pen.line([(x, -0.02), (x * 0.55, -0.5), (0, -0.8)], mix(paint, INK, 0.4), 0.04)


def _kite(pen: Pen, paint: RGB) -> None:
    tail = [(0.1, 0.35), (0.28, 0.55), (0.12, 0.72), (0.34, 0.96)]
    pen.line(tail, INK, 0.05)
    shade = mix(paint, INK, 0.35)
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
