"""A model's stage after its shard's images were asked for again: rows of the file that is there are kept, the others made.

Asking again leaves the rows of images that are there as they are, and what a model makes of a sample depends on nothing
else. So every row of the file that was made before stands in the new one, bit for bit.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from laion_coco_assets.contract.stage_info import Replacing, StageInfo, StageKey
from laion_coco_assets.orchestration.stage import Rows, Work
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore

_MADE_WITH: Final = ("models", "device")


def model_work(
    store: ShardStore,
    key: StageKey,
    numbers: Callable[[], Iterator[int]],
    make: Callable[[int, Container[int]], Iterator[Rows]],
    record: Callable[[], Mapping[str, Any]],
) -> Work:
    """The work of a stage that makes each row of its sample alone.

    Args:
        store: where the stage files lie.
        key: of the file to make.
        numbers: `row` of each row that the file will have, ascending.
        make: the rows in order, but for those whose `row` is in the second argument, behind the first so many.
        record: what the file is to say of itself. Rows are kept only from a file that says the same of models and device.
    """

    @cache
    def before() -> StageInfo | None:
        info = extended(store, key)
        return info if info is not None and _made_with(info.metadata) == _made_with(record()) else None

    def rows(done: int) -> Iterator[Rows | pa.RecordBatch]:
        if before() is None:
            return make(done, frozenset())
        kept = frozenset(row["row"] for row in stage_rows(store, key.stage, key.shard, ["row"]))
        made = sum(number not in kept for number in islice(numbers(), done))
        return in_order(_behind(store.batches(key.stage, key.shard), done - made), make(made, kept))

    def extending() -> Replacing | None:
        # Parts that another device began, or that are not in part this file's rows, are none to go on with.
        info = before()
        return None if info is None else Replacing(info.content, json.dumps(_made_with(info.metadata), sort_keys=True))

    def described() -> Mapping[str, Any]:
        info = before()
        return record() if info is None else {**record(), "extends": _lineage(info), "rows_kept": info.rows}

    return Work(key, lambda: sum(1 for _ in numbers()), rows, described, extending=extending)


def extended(store: ShardStore, key: StageKey) -> StageInfo | None:
    """The file that is there, if the one that `key` asks for has all its rows and more; else None.

    It was made with the same settings, from files that those there now extend.

    Raises:
        StoreUnavailableError: a file's file system failed.
    """
    info = store.usable_info(key.stage, key.shard)
    if info is None or info.key.fingerprint != key.fingerprint or info.key.inputs.keys() != key.inputs.keys():
        return None
    extends = all(info.key.inputs[name] in _lineage(store.need(name, key.shard)) for name in key.inputs)
    return info if extends else None


def _made_with(said: Mapping[str, Any]) -> list[Any]:
    return [said.get(name) for name in _MADE_WITH]


def _lineage(info: StageInfo) -> list[str]:
    """Content digests of the file and of those before it whose rows it has: for `fetched_images`, rows of images."""
    asked_again = [each["content"] for each in info.metadata.get("refetches", [])]
    return [info.content, *info.metadata.get("extends", []), *asked_again]


def in_order(kept: Iterator[pa.RecordBatch], made: Iterator[Rows]) -> Iterator[Rows | pa.RecordBatch]:
    """The rows of both by `row`, in which each ascends; none is in both."""
    made = filter(None, made)
    waiting = next(made, [])
    for batch in kept:
        numbers = batch.column("row").to_pylist()
        start = 0
        while waiting and numbers and waiting[0]["row"] < numbers[-1]:
            stop = bisect_left(numbers, waiting[0]["row"])
            if stop > start:
                yield batch.slice(start, stop - start)
                start = stop
            count = bisect_left(waiting, numbers[start], key=lambda row: row["row"])
            yield waiting[:count]
            waiting = waiting[count:] or next(made, [])
        yield batch.slice(start)
    while waiting:
        yield waiting
        waiting = next(made, [])


def _behind(batches: Iterator[pa.RecordBatch], done: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.slice(min(done, batch.num_rows))
        done -= min(done, batch.num_rows)
