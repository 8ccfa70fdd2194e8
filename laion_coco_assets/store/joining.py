"""Joining stage files row by row. Each is in source order, so one row of each is in memory."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.store import ShardStore

Row = dict[str, Any]
T = TypeVar("T")


def stage_rows(store: ShardStore, stage: str, shard: str, columns: Iterable[str] | None = None) -> Iterator[Row]:
    """A stage file's rows in source order."""
    for batch in store.batches(stage, shard, columns):
        yield from batch.to_pylist()


def joined(left: Iterable[Row], right: Iterable[Row]) -> Iterator[tuple[Row, Row | None]]:
    """Each left row with the right row of the same `row`, or with None. Both sides must ascend by `row`.

    Raises:
        StoreError: a right row has no left row: the one file was not made from the other.
    """
    rest = iter(right)
    waiting = next(rest, None)
    for row in left:
        if waiting is not None and waiting["row"] == row["row"]:
            yield row, waiting
            waiting = next(rest, None)
        else:
            yield row, None
    if waiting is not None:
        raise StoreError(
            f"row {waiting['row']} ({waiting['sample_id']}) is in a stage's file but not in the one before"
        )


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
