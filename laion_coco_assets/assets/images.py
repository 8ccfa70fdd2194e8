"""The ok images of a shard, decoded as the models want them, with the captions a stage before gave them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laion_coco_assets.shards.joining import Row, joined, stage_rows
from laion_coco_assets.shards.schemas import Stage
from laion_coco_assets.shards.store import ShardStore

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class OkImage:
    """An image that was fetched. `image` is None where it was not asked for, or can not be decoded any more."""

    row: int
    sample_id: str
    text: str | None
    image: "Image.Image | None"
    #: The row that a later stage wrote for it, if one was joined.
    stage_row: Row


def ok_images(store: ShardStore, shard: str, *, skip: int = 0, decode: bool = True) -> Iterator[OkImage]:
    """Images with status ok in source order, behind the first `skip`; without `decode`, their bytes are not read."""
    return _images(((row, {}) for row in _ok_rows(store, shard, decode)), skip)


def ok_images_with(store: ShardStore, stage: Stage, shard: str, *, skip: int = 0) -> Iterator[OkImage]:
    """The images for which `stage` has a row with captions, each with that row."""
    pairs = joined(_ok_rows(store, shard, images=True), stage_rows(store, stage, shard))
    return _images(((row, later) for row, later in pairs if later is not None and not later.get("reason")), skip)


def _ok_rows(store: ShardStore, shard: str, images: bool) -> Iterator[Row]:
    columns = ["row", "sample_id", "TEXT", "status", *(["image"] if images else [])]
    return (row for row in stage_rows(store, Stage.FETCHED_IMAGES, shard, columns) if row["status"] == "ok")


def _images(rows: Iterable[tuple[Row, Row]], skip: int) -> Iterator[OkImage]:
    for number, (row, later) in enumerate(rows):
        if number >= skip:
            yield OkImage(row["row"], row["sample_id"], row["TEXT"], _decoded(row.get("image")), later)


def _decoded(data: Any) -> "Image.Image | None":
    from laion_coco_assets.fetching.decode import decode_rgb

    if data is None:
        return None
    try:
        return decode_rgb(data)
    except ValueError:
        return None
