"""A shard's ok images, prepared for a model, each with the row that a later stage wrote for it if that is asked for."""

from collections.abc import Container, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from laion_coco_assets.ahead import ahead
from laion_coco_assets.captioning.interfaces import ImageModel
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.joining import Row, joined, stage_rows
from laion_coco_assets.store.store import ShardStore


@dataclass(frozen=True)
class OkImage:
    """An image that was fetched. `pixels` is what the model's `prepare` returned, or None if it cannot be decoded."""

    row: int
    sample_id: str
    text: str | None
    pixels: Any
    #: The row that a later stage wrote for it, if one was joined.
    stage_row: Row


def ok_image_rows(store: ShardStore, shard: str) -> Iterator[int]:
    """`row` of each image with status ok, in order; their bytes are not read."""
    rows = stage_rows(store, StageName.FETCHED_IMAGES, shard, ["row", "status"])
    return (row["row"] for row in rows if row["status"] == "ok")


def ok_images(
    store: ShardStore,
    shard: str,
    model: ImageModel,
    *,
    window: int,
    skip: int = 0,
    without: Container[int] = frozenset(),
) -> Generator[OkImage, None, None]:
    """Images with status ok in source order, except those whose `row` is in `without`, after the first `skip`.

    Threads read, decode and prepare up to `window` images beyond the last one taken. Close the generator if it may be
    left before its end.
    """
    return _images(((row, {}) for row in _ok_rows(store, shard)), model, window, skip, without)


def ok_images_with(
    store: ShardStore,
    stage: StageName,
    shard: str,
    model: ImageModel,
    *,
    window: int,
    skip: int = 0,
    without: Container[int] = frozenset(),
) -> Generator[OkImage, None, None]:
    """The images for which `stage` has a row with captions, each with that row; otherwise like `ok_images`."""
    pairs = joined(_ok_rows(store, shard), stage_rows(store, stage, shard))
    captioned = ((row, later) for row, later in pairs if later is not None and not later.get("reason"))
    return _images(captioned, model, window, skip, without)


def _ok_rows(store: ShardStore, shard: str) -> Iterator[Row]:
    columns = ["row", "sample_id", "TEXT", "status", "image"]
    return (row for row in stage_rows(store, StageName.FETCHED_IMAGES, shard, columns) if row["status"] == "ok")


def _images(
    pairs: Iterable[tuple[Row, Row]], model: ImageModel, window: int, skip: int, without: Container[int]
) -> Generator[OkImage, None, None]:
    def prepare(pair: tuple[Row, Row]) -> OkImage:
        row, later = pair
        return OkImage(row["row"], row["sample_id"], row["TEXT"], _pixels(row, model), later)

    wanted = (pair for pair in pairs if pair[0]["row"] not in without)
    return ahead(islice(wanted, skip, None), prepare, threads=model.threads, window=window)


def _pixels(row: Row, model: ImageModel) -> Any:
    from laion_coco_assets.images.decode import decode_rgb

    try:
        try:
            image = decode_rgb(row["image"])
        except ValueError:
            return None
        return model.prepare(image)
    except MemoryError:
        raise  # it may pass by itself, see `retries`
    except Exception as error:
        raise StoreError(f"sample {row['sample_id']}: its image cannot be prepared: {error!r}") from error
