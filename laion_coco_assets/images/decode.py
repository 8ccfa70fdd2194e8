"""The gate that bytes pass to count as a picture, and the one way in which pictures become RGB. No network, no processes.

`inspect` decodes whole pictures of unknown origin: run it in a worker (`workers`) wherever the bytes are not trusted.
"""

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Protocol

# The five plugins by name: else Pillow would import all it has (about 40) for the first WebP or AVIF, in every worker.
from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

from laion_coco_assets.contract.reasons import Reason, RejectedError, Rejection
from laion_coco_assets.images.perceptual import perceptual_hash
from laion_coco_assets.images.sniff import SUPPORTED, describe, is_cut_short, picture_format

# Pillow warns of every second picture of the web. For the process, as `warnings.catch_warnings` is not for threads, which would
# leave all warnings of everyone switched off.
warnings.filterwarnings("ignore", module=r"PIL\b")

_PLUGINS: Final = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin, GifImagePlugin, AvifImagePlugin)

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})


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
    """A picture within limits: `format` as Pillow calls it, `width` and `height` in pixels after EXIF orientation.

    `perceptual_hash` as `perceptual` makes it, if it was asked for.
    """

    format: str
    width: int
    height: int
    perceptual_hash: str | None = None


def inspect(data: bytes, limits: ImageLimits) -> ImageInfo | Rejection:
    """Whether `data` is a whole picture of a kept format within `limits`. Never raises, whatever the bytes."""
    try:
        return _inspect(data, limits)
    except RejectedError as error:
        return error.rejection
    except MemoryError:
        return Rejection(Reason.BOMB, "decoding asked for more memory than a worker may have")


def _inspect(data: bytes, limits: ImageLimits) -> ImageInfo:
    image, name = _open(data)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise RejectedError(Reason.BOMB, f"{name} of {width}x{height} pixels, more than {limits.max_pixels} in all")
    if is_cut_short(data, name):
        raise RejectedError(Reason.TRUNCATED, f"the {name} file ends before its own end")
    _load(image, name)
    if image.size != (width, height):  # a GIF frame outside its screen, say; the bound holds for what was decoded
        width, height = image.size
        if width * height > limits.max_pixels:
            raise RejectedError(Reason.BOMB, f"{name} of {width}x{height} pixels, more than {limits.max_pixels} in all")
    if _orientation(image) in _SIDEWAYS:
        width, height = height, width
    if min(width, height) < limits.min_side:
        raise RejectedError(Reason.TOO_SMALL, f"{width}x{height} pixels, a side under {limits.min_side}")
    ratio = max(width, height) / min(width, height)
    if ratio > limits.max_aspect_ratio:
        raise RejectedError(Reason.ASPECT_RATIO, f"{width}x{height} pixels, {ratio:.1f} to 1")
    return ImageInfo(name, width, height, _hash(image, name, wanted=limits.perceptual_hash))


def _hash(image: ImageFile.ImageFile, name: str, *, wanted: bool) -> str | None:
    """The perceptual hash if wanted; in any case nothing passes that can be decoded but not made RGB, as models need it."""
    if not wanted and image.mode == "RGB" and not image.has_transparency_data:
        return None  # nothing to convert
    rgb = _rgb(image, name)
    return perceptual_hash(rgb) if wanted else None


def decode_rgb(data: bytes) -> Image.Image:
    """The picture as one sees it: first frame, upright (EXIF), in mode RGB, transparency over white.

    CMYK is read with Adobe's polarity and converted without a profile, 16-bit samples keep their upper byte, and ICC
    profiles are not applied: what BLIP and CLIP were trained on was read the same way. Meant for bytes that passed
    `inspect`; raises ValueError, with the reason, for others.
    """
    try:
        image, name = _open(data)
        _load(image, name)
        return _rgb(image, name)
    except RejectedError as error:
        raise ValueError(f"not a readable picture: {error}") from error


def _rgb(image: Image.Image, name: str) -> Image.Image:
    try:
        return _as_seen(image)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes: a transparency that does not fit its palette, say
        raise _failure(name, error) from None


def _as_seen(image: Image.Image) -> Image.Image:
    upright = _upright(image)
    if upright.mode in _SIXTEEN_BIT:
        upright = _eight_bit(upright)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        backdrop = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(backdrop, upright)
    return upright.convert("RGB")


def _open(data: bytes) -> tuple[ImageFile.ImageFile, str]:
    """Pillow's lazy image, header read, and its format's name."""
    name = picture_format(data)
    if name is None:
        raise RejectedError(Reason.NOT_AN_IMAGE, describe(data))
    if name not in SUPPORTED or (name == "AVIF" and not features.check("avif")):
        raise RejectedError(Reason.UNSUPPORTED_FORMAT, name)
    try:
        return Image.open(BytesIO(data), formats=(name,)), name
    except Image.DecompressionBombError as error:
        raise RejectedError(Reason.BOMB, f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes make plugins raise anything
        if is_cut_short(data, name):
            raise RejectedError(Reason.TRUNCATED, f"the {name} file ends before its own end") from None
        raise _failure(name, error) from None


def _load(image: ImageFile.ImageFile, name: str) -> None:
    """Decodes every pixel. Pillow itself raises for files that end in their middle, as nothing here tells it not to."""
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise RejectedError(Reason.BOMB, f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - likewise
        raise _failure(name, error) from None


def _failure(name: str, error: Exception) -> RejectedError:
    """What a decoder's exception says about the file. Pillow tells truncated files from damaged ones in words only."""
    said = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        said = "not readable"  # its message shows an address in memory
    reason = Reason.DECODE_ERROR
    if "truncated" in said.lower():
        reason = Reason.TRUNCATED
    elif "MAX_TEXT_" in said:  # a PNG's comment or colour profile that unpacks to more than Pillow takes
        reason = Reason.BOMB
    return RejectedError(reason, f"{name}: {said}")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - likewise
        return 1  # damaged EXIF is as good as none: the picture itself is whole
    return value if isinstance(value, int) else 1


def _upright(image: Image.Image) -> Image.Image:
    transparency = image.info.get("transparency")
    match _orientation(image):
        case 2:
            turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        case 3:
            turned = image.transpose(Image.Transpose.ROTATE_180)
        case 4:
            turned = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        case 5:
            turned = image.transpose(Image.Transpose.TRANSPOSE)
        case 6:
            turned = image.transpose(Image.Transpose.ROTATE_270)
        case 7:
            turned = image.transpose(Image.Transpose.TRANSVERSE)
        case 8:
            turned = image.transpose(Image.Transpose.ROTATE_90)
        case _:
            return image
    if transparency is not None:
        turned.info["transparency"] = transparency
    return turned


def _eight_bit(image: Image.Image) -> Image.Image:
    """Greyscale of 16 bits a sample as LA: the upper byte, as Pillow itself reads 16-bit colour, and any tRNS colour clear."""
    import numpy as np

    samples = np.asarray(image).astype(np.int32).clip(0, 0xFFFF)
    grey = (samples >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    alpha = np.where(samples == transparent, 0, 255).astype(np.uint8) if isinstance(transparent, int) else None
    flat = Image.fromarray(grey)
    if alpha is not None:
        flat.putalpha(Image.fromarray(alpha))
    return flat
