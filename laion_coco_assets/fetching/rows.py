"""From source rows to rows of FETCHED_IMAGES."""

from collections.abc import Iterator
from itertools import islice, tee
from typing import TYPE_CHECKING, Final

from laion_coco_assets.fetching.duplicates import SeenUrls
from laion_coco_assets.shards.joining import Row, chunks
from laion_coco_assets.shards.source import SourceShard

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetched, Fetcher

_APPEND_ROWS: Final = 50


def fetch_shard(source: SourceShard, fetcher: "Fetcher", done: int) -> Iterator[list[Row]]:
    """Rows of FETCHED_IMAGES in source order, behind the first `done`. A URL that came before is not fetched again."""
    rows = (row for batch in source.batches() for row in batch.to_pylist())
    seen = SeenUrls()
    for row in islice(rows, done):
        seen.add(row["URL"])
    ours, ahead = tee(rows)  # the fetcher reads a bounded way ahead, and in this thread
    fetched = fetcher.fetch((row["URL"] for row in ahead), seen)
    return chunks((row | fetched_columns(result) for row, result in zip(ours, fetched, strict=True)), _APPEND_ROWS)


def fetched_columns(result: "Fetched") -> Row:
    """The columns that the source does not have."""
    return {
        "status": "ok" if result.reason is None else "rejected",
        "reason": None if result.reason is None else result.reason.value,
        "detail": result.detail,
        "http_status": result.http_status,
        "final_url": result.final_url,
        "sha256": result.sha256,
        "format": result.format,
        "image_width": result.image_width,
        "image_height": result.image_height,
        "image_bytes": None if result.image is None else len(result.image),
        "image": result.image,
    }
