"""From source rows to rows of FETCHED_IMAGES."""

import hashlib
import json
import re
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice, tee
from typing import TYPE_CHECKING, Final

from laion_coco_assets.fetching.duplicates import SampleIds, SeenUrls
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.store.joining import Row

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetched, Fetcher

#: Rows that are appended to a stage file at once: more would cost memory, fewer would cost time.
_APPEND_ROWS: Final = 50
_APPEND_BYTES: Final = 16 << 20
_APPEND_SECONDS: Final = 5.0
_MD5: Final = re.compile(r"[0-9a-f]{32}")


def fetch_shard(
    source: SourceShard, fetcher: "Fetcher", done: int, most: int | None = None
) -> Generator[list[Row], None, None]:
    """Rows of FETCHED_IMAGES in source order, after the first `done`. A URL that came before is not fetched again.

    Images that the source brings along go through the same limits, and nothing is fetched. Closing the iterator ends what
    is under way.

    Args:
        source: the shard.
        fetcher: an entered one.
        done: rows that an earlier run has finished.
        most: the shard ends after this many rows; None for all.
    """
    rows = islice((row for batch in source.batches() for row in batch.to_pylist()), most)
    seen, ids = SeenUrls(), SampleIds()
    for row in islice(rows, done):
        seen.add(row["URL"])
        ids.append(row["sample_id"])
    current, ahead = tee(rows)  # the fetcher reads a bounded way ahead, and in this thread

    def urls() -> Iterator[str | None]:
        for row in ahead:
            ids.append(row["sample_id"])
            yield row["URL"]

    if source.brings_images:
        # One byte more than an image may have shows that it has too many.
        images = islice(source.images(fetcher.max_bytes + 1), done, most)
        fetched = fetcher.inspect(zip(urls(), images, strict=True), seen)
    else:
        fetched = fetcher.fetch(urls(), seen)
    with closing(fetched):
        yield from appendable(fetched_row(row, result, ids) for row, result in zip(current, fetched, strict=True))


def appendable(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows of FETCHED_IMAGES in lists, each cut at 50 rows, 16 MiB of images or 5 s, whichever comes first.

    Nothing else bounds the memory of rows that the fetcher has returned, nor the rows that a killed run loses.
    """
    batch: list[Row] = []
    size, since = 0, time.monotonic()
    for row in rows:
        batch.append(row)
        size += row["image_bytes"] or 0
        if len(batch) >= _APPEND_ROWS or size >= _APPEND_BYTES or time.monotonic() - since >= _APPEND_SECONDS:
            yield batch
            batch, size, since = [], 0, time.monotonic()
    if batch:
        yield batch


def fetched_row(source: Row, result: "Fetched", ids: SampleIds) -> Row:
    """A row of SOURCE, or of an older FETCHED_IMAGES, with what became of its URL. `ids` of all rows up to this one."""
    detail = result.detail
    if result.duplicate_of is not None:
        detail = f"{detail}, sample_id {ids[result.duplicate_of]}"
    return source | {
        "status": "ok" if result.reason is None else "rejected",
        "reason": None if result.reason is None else result.reason.value,
        "detail": detail,
        "http_status": result.http_status,
        "final_url": result.final_url,
        "sha256": result.sha256,
        "format": result.format,
        "image_width": result.image_width,
        "image_height": result.image_height,
        "image_bytes": None if result.image is None else len(result.image),
        "perceptual_hash": result.perceptual_hash,
        "md5_matches": _md5_matches(source["source_extra"], result.image),
        "image": result.image,
    }


def _md5_matches(source_extra: str | None, image: bytes | None) -> bool | None:
    """Whether the bytes have the MD5 in the source's column `md5` (any casing); None where that is not known.

    LAION's `hash` is a key of URL and TEXT, and says nothing about bytes.
    """
    if image is None or source_extra is None:
        return None
    md5 = {name.casefold(): value for name, value in json.loads(source_extra).items()}.get("md5")
    expected = md5.strip().lower() if isinstance(md5, str) else ""
    if not _MD5.fullmatch(expected):
        return None
    return hashlib.md5(image, usedforsecurity=False).hexdigest() == expected
