"""Published rows with the images that they were made from."""

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets.store.store import ShardStore


class PublishedImage(NamedTuple):
    """A row of PUBLISHED and its image: the format as `fetched_images` has it, the bytes as they were served."""

    row: Row
    format: str
    image: bytes


def join_images(store: ShardStore, shard: str) -> Iterator[PublishedImage]:
    """Each published row of a shard with its image, in source order.

    Raises:
        StoreError: a published sample has no image: the files were not made from each other.
    """
    images = _ok_images(store, shard)
    for row in stage_rows(store, StageName.PUBLISHED, shard):
        # Both files are in source order: images of samples that are not published are skipped.
        for sample_id, format_, image in images:
            if sample_id == row["sample_id"]:
                yield PublishedImage(row, format_, image.as_py())
                break
        else:
            raise StoreError(f"sample {row['sample_id']} of shard {shard} is published, but has no image")


def _ok_images(store: ShardStore, shard: str) -> Iterator[tuple[str, str, pa.BinaryScalar]]:
    """sample_id, format and image of each row with an image; bytes are copied only when they are asked for.

    A sample may stand in the source twice. Its later row was rejected and has no image.
    """
    names = ["sample_id", "status", "format", "image"]
    for batch in store.batches(StageName.FETCHED_IMAGES, shard, names):
        sample_ids, statuses, formats, images = (batch.column(name) for name in names)
        rows = zip(sample_ids.to_pylist(), statuses.to_pylist(), formats.to_pylist(), images, strict=True)
        yield from ((own, format_, image) for own, status, format_, image in rows if status == "ok" and image.is_valid)
