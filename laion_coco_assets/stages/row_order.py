"""Two streams of rows merged by `row`: those carried over from a file, as batches, and those made now."""

from bisect import bisect_left
from collections.abc import Iterator

import pyarrow as pa

from laion_coco_assets.stages.stage import Rows


def merged(carried_over: Iterator[pa.RecordBatch], made: Iterator[Rows]) -> Iterator[Rows | pa.RecordBatch]:
    """The rows of both in order of `row`. It ascends in both, and no row is in both."""
    made = filter(None, made)
    waiting = next(made, [])
    for batch in carried_over:
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


def without_first(batches: Iterator[pa.RecordBatch], count: int) -> Iterator[pa.RecordBatch]:
    """The batches without their first `count` rows."""
    for batch in batches:
        yield batch.slice(min(count, batch.num_rows))
        count -= min(count, batch.num_rows)
