"""Published samples with their pictures, for the page of examples and Dagster's UI. Removed samples are in neither."""

import base64
import io
from collections.abc import Iterator

from PIL import Image

from laion_coco_assets.images.decode import decode_rgb
from laion_coco_assets.publishing.published_images import join_images
from laion_coco_assets.store.joining import Row
from laion_coco_assets.store.store import ShardStore


def published_images(store: ShardStore, shard: str) -> Iterator[tuple[Row, bytes]]:
    """A shard's published rows in source order, each with the bytes of its image.

    Raises:
        StoreError: a published sample has no image: the files were not made from each other.
    """
    return ((row, image) for row, _, image in join_images(store, shard))


def thumbnail(data: bytes, *, side: int, quality: int) -> str:
    """A small JPEG of an image, as a data URL; its longer side has at most `side` pixels.

    Raises:
        ValueError: the bytes are not a readable picture.
    """
    image = decode_rgb(data)
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
