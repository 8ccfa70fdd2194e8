"""The formats of the demo's pictures, and how often each occurs."""

from typing import Literal

Format = Literal["jpeg", "jpeg_grey", "jpeg_cmyk", "jpeg_rotated", "png", "png_palette", "png_alpha", "webp", "gif"]
FORMATS: dict[Format, int] = {
    "jpeg": 60,
    "jpeg_grey": 3,
    "jpeg_cmyk": 3,
    "jpeg_rotated": 3,
    "png": 10,
    "png_palette": 4,
    "png_alpha": 4,
    "webp": 10,
    "gif": 3,
}
