"""The one way in which bytes become pixels, and pixels RGB. No network, no processes.

Bytes of unknown origin are decoded by `inspection` first, in a worker. Pillow is set up here, once per process.
"""

import warnings
from io import BytesIO
from typing import Final

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

from laion_coco_assets.contract.reasons import Reason, RejectedError
from laion_coco_assets.images.sniff import SUPPORTED, describe, is_cut_short, picture_format

# Pillow warns about every second image of the web. This filter is for the whole process: `warnings.catch_warnings` is not safe
# with threads, and could leave all warnings switched off.
warnings.filterwarnings("ignore", module=r"PIL\b")

_PLUGINS: Final = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin, GifImagePlugin, AvifImagePlugin)

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})


def decode_rgb(data: bytes) -> Image.Image:
    """The image as one sees it: first frame, upright (EXIF), in mode RGB, transparency over white.

    CMYK is read with Adobe's polarity and converted without a profile, 16-bit samples keep their upper byte, and ICC
    profiles are not applied: what BLIP and CLIP were trained on was read the same way. Meant for bytes that passed
    `inspection.inspect`.

    Raises:
        ValueError: the bytes are not a readable image; the message has the reason.
    """
    try:
        image, name = open_image(data)
        load_pixels(image, name)
        return to_rgb(image, name)
    except RejectedError as error:
        raise ValueError(f"not a readable picture: {error}") from error


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """A loaded image of format `name` as `decode_rgb` returns it. Raises RejectedError if it cannot be converted."""
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


def open_image(data: bytes) -> tuple[ImageFile.ImageFile, str]:
    """Pillow's lazy image, of which the header is read, and its format's name. Raises RejectedError."""
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


def load_pixels(image: ImageFile.ImageFile, name: str) -> None:
    """Decodes every pixel. Raises RejectedError, also for files that end in their middle."""
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise RejectedError(Reason.BOMB, f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - likewise
        raise _failure(name, error) from None


def _failure(name: str, error: Exception) -> RejectedError:
    """The reason that a decoder's exception stands for. Only Pillow's message tells truncated files from damaged ones."""
    message = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        message = "not readable"  # its message shows an address in memory
    reason = Reason.DECODE_ERROR
    if "truncated" in message.lower():
        reason = Reason.TRUNCATED
    elif "MAX_TEXT_" in message:  # a PNG's comment or colour profile that unpacks to more than Pillow takes
        reason = Reason.BOMB
    return RejectedError(reason, f"{name}: {message}")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels after EXIF orientation."""
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - likewise
        return 1  # damaged EXIF counts as no EXIF: the image itself is whole
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
