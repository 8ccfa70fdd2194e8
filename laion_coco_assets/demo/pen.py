"""Draws one thing in its own square, for any place, size, tilt and mirroring, and mixes colours."""

import math
from collections.abc import Iterator, Sequence

from PIL import ImageDraw

RGB = tuple[int, int, int]
Point = tuple[float, float]

INK: RGB = (38, 34, 40)


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """A mixture of `one` with a share (0 to 1) of `other`."""
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
            self._draw.line([*corners, corners[0]], fill=mix(fill, INK, 0.75), width=self._line, joint="curve")

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: RGB, *, outline: bool = True) -> None:
        """A filled ellipse."""
        self.polygon(arc(x, y, rx, ry, 0, 360), fill, outline=outline)

    def line(self, points: Sequence[Point], fill: RGB, width: float = 0.08) -> None:
        """An open line. `width` is in the thing's own unit."""
        pixels = max(1, round(width * self._half))
        self._draw.line(list(self._to_picture(points)), fill=fill, width=pixels, joint="curve")


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    """Points on an ellipse from `start` to `end` degrees, clockwise from the right."""
    steps = max(4, int(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]
