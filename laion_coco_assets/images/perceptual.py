"""A hash that is similar for images that look alike, for finding near duplicates. How near counts is the user's choice."""

from functools import cache
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIDE = 32  # pixels per side of the image that is transformed
_KEPT = 8  # lowest frequencies per side that are kept


def perceptual_hash(image: Image.Image) -> str:
    """The 64-bit DCT hash (pHash) of an image of any mode, as 16 hex digits; `imagehash.phash` gives the same.

    Luminance, scaled to 32x32, and of its discrete cosine transform the 8x8 lowest frequencies: a bit is set where one
    is above their median, row by row. Re-encoded or resized copies differ in a few bits (up to about 10 of 64),
    unrelated images in about 32.
    """
    import numpy as np

    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    cosines = _cosines()
    low = cosines @ np.asarray(small, dtype=np.float64) @ cosines.T
    bits = (low > np.median(low)).flatten()
    return np.packbits(bits).tobytes().hex()


@cache
def _cosines() -> "NDArray[np.float64]":
    """Rows of the DCT-II: the lowest frequencies, without a norm, which would change no order of magnitude."""
    import numpy as np

    frequency, position = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None, :]
    return 2 * np.cos(np.pi * frequency * (2 * position + 1) / (2 * _SIDE))
