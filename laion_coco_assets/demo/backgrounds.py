"""Draws each kind of background."""

from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from laion_coco_assets.demo.pen import INK, RGB, mix


def _gradient(width: int, height: int, *stops: RGB) -> Image.Image:
    column = Image.new("RGB", (1, len(stops)))
    column.putdata(stops)
    return column.resize((width, height), Image.Resampling.BILINEAR)


def _land(picture: Image.Image, horizon: float, near: RGB, far: RGB) -> int:
    """Paint the ground below `horizon` (a share of the height). Returns the horizon in pixels."""
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
    picture.paste(_gradient(width, height, mix(wall, (255, 255, 255), 0.2), wall))
    draw = ImageDraw.Draw(picture)
    for stripe in range(9):
        x = (stripe + 0.5) * width / 9
        draw.line([(x, 0), (x, height)], fill=mix(wall, INK, 0.1), width=max(1, min(width, height) // 60))
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


_PAINTERS: dict[str, Callable[[Image.Image, float, Random], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "sea": _sea,
    "night": _night,
    "room": _room,
    "snow": _snow,
    "desert": _desert,
    "street": _street,
}


def background(kind: str, width: int, height: int, rng: Random) -> Image.Image:
    """An RGB picture of only the background, `width` x `height` pixels."""
    picture = _gradient(width, height, (142, 196, 236), (206, 230, 244))
    _PAINTERS[kind](picture, rng.uniform(0.3, 0.6), rng)
    return picture
