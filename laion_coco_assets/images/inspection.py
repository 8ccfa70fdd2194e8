"""Whether bytes are a whole image of a kept format within limits. No network, no processes.

`inspect` decodes whole images of unknown origin: call it in a worker (`decode_pool`) unless the bytes are trusted.
"""

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from laion_coco_assets.contract.reasons import Reason, RejectedError, Rejection
from laion_coco_assets.images.decode import load_pixels, open_image, to_rgb, upright_size
from laion_coco_assets.images.perceptual import perceptual_hash
from laion_coco_assets.images.sniff import is_cut_short


class ImageLimits(Protocol):
    """What `inspect` needs to know of a profile: `FetchSettings` has it."""

    @property
    def max_pixels(self) -> int: ...
    @property
    def min_side(self) -> int: ...
    @property
    def max_aspect_ratio(self) -> float: ...
    @property
    def perceptual_hash(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image within limits: `format` as Pillow calls it, `width` and `height` in pixels after EXIF orientation.

    `perceptual_hash` as `perceptual` makes it; None unless the limits ask for it.
    """

    format: str
    width: int
    height: int
    perceptual_hash: str | None = None


def inspect(data: bytes, limits: ImageLimits) -> ImageInfo | Rejection:
    """Whether `data` is a whole image of a kept format within `limits`. Never raises, whatever the bytes."""
    try:
        return _inspect(data, limits)
    except RejectedError as error:
        return error.rejection
    except MemoryError:
        return Rejection(Reason.BOMB, "decoding asked for more memory than a worker may have")


def _inspect(data: bytes, limits: ImageLimits) -> ImageInfo:
    image, name = open_image(data)
    header_size = image.size
    _check_pixels(name, header_size, limits)
    if is_cut_short(data, name):
        raise RejectedError(Reason.TRUNCATED, f"the {name} file ends before its own end")
    load_pixels(image, name)
    if image.size != header_size:  # a GIF frame outside its screen, say; the limit holds for what was decoded
        _check_pixels(name, image.size, limits)
    width, height = upright_size(image)
    if min(width, height) < limits.min_side:
        raise RejectedError(Reason.TOO_SMALL, f"{width}x{height} pixels, a side under {limits.min_side}")
    ratio = max(width, height) / min(width, height)
    if ratio > limits.max_aspect_ratio:
        raise RejectedError(Reason.ASPECT_RATIO, f"{width}x{height} pixels, {ratio:.1f} to 1")
    return ImageInfo(name, width, height, _perceptual_hash(image, name, wanted=limits.perceptual_hash))


def _check_pixels(name: str, size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise RejectedError(Reason.BOMB, f"{name} of {width}x{height} pixels, more than {limits.max_pixels} in all")


def _perceptual_hash(image: Image.Image, name: str, *, wanted: bool) -> str | None:
    """The perceptual hash if wanted. Also rejects what decodes but cannot become RGB, which models need."""
    if not wanted and image.mode == "RGB" and not image.has_transparency_data:
        return None  # nothing to convert
    rgb = to_rgb(image, name)
    return perceptual_hash(rgb) if wanted else None
