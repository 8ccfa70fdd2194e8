"""Published samples with their pictures: what the page of examples shows, and Dagster's UI. Removed samples are in neither."""

import base64
import io
from collections.abc import Iterator

from PIL import Image

from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.errors import StoreError
from laion_coco_assets.images.decode import decode_rgb
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets.store.store import ShardStore


def published_images(store: ShardStore, shard: str) -> Iterator[tuple[Row, bytes]]:
    """A shard's published rows in source order, each with the bytes of its image.

    Raises:
        StoreError: a published sample has no image: the files were not made from each other.
    """
    fetched = stage_rows(store, Stage.FETCHED_IMAGES, shard, ["sample_id", "status", "image"])
    for row in stage_rows(store, Stage.PUBLISHED, shard):
        # Both are in source order, and what was rejected or removed in between is passed over. A sample that is
        # published once may stand in the source twice: the later row was rejected and has no image.
        found = (each["image"] for each in fetched if each["sample_id"] == row["sample_id"] and each["status"] == "ok")
        image = next(found, None)
        if image is None:
            raise StoreError(f"sample {row['sample_id']} of shard {shard} is published, but has no image")
        yield row, image


def thumbnail(data: bytes, *, side: int, quality: int) -> str:
    """A small JPEG of an image, as a data URL; `side` is its longer side's bound in pixels.

    Raises:
        ValueError: the bytes are no readable picture.
    """
    image = decode_rgb(data)
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
