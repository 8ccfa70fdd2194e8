"""Asking again for what failed: the rows of a complete file with certain reasons; all others stay as they are."""

from collections.abc import Callable, Iterator, Set
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.contract.stage_info import Replacing
from laion_coco_assets.errors import StoreError
from laion_coco_assets.fetching.duplicates import SampleIds, SeenUrls
from laion_coco_assets.fetching.rows import appendable, fetched_row
from laion_coco_assets.orchestration.stage import Rows, Work
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetched, Fetcher

_STAGE = Stage.FETCHED_IMAGES
_COUNTED_AT_ONCE: Final = 10_000


def refetch_work(
    store: ShardStore, work: Work, fetcher: "Callable[[], Fetcher]", reasons: Set[Reason], run_id: str
) -> Work:
    """The work of `fetched_images` on a shard whose file is there, as work on its rows with `reasons` alone.

    `work` itself comes back when the file has no such row, or was made by this very run, which tries again for the
    sake of another shard: it is complete, and is skipped.

    Raises:
        StoreError: no file yet, or one of other settings or another source.
    """
    shard = work.key.shard
    info = store.need(_STAGE, shard)
    if info.key != work.key:
        raise StoreError(
            f"{store.path(_STAGE, shard)} was made with other settings or from another source: "
            "retrying would mix them; fetch the shard as a whole first"
        )
    before = info.metadata.get("refetches", [])
    if before and before[-1].get("run") == run_id:
        return work
    rows = wanted_rows(store, shard, reasons)
    if not rows:
        return work

    def record() -> dict[str, Any]:
        this = {"content": info.content, "reasons": sorted(reasons), "rows": rows, "run": run_id}
        return {**work.record(), "refetches": [*before, this]}

    return Work(
        work.key,
        work.total,
        lambda done: refetch_shard(store, shard, fetcher(), reasons, done),
        record,
        # Counted, because a retry that changed no row leaves the same content: parts that a kill just behind the
        # publication left are the former retry's, and are not taken for this one's.
        replacing=Replacing(info.content, f"{len(before)}:{','.join(sorted(reasons))}"),
    )


def wanted_rows(store: ShardStore, shard: str, reasons: Set[Reason]) -> int:
    """How many rows of a complete file have one of these reasons.

    Raises:
        StoreError: no such file, or a damaged one.
    """
    values = pa.array(sorted(reasons), pa.string())
    batches = store.batches(_STAGE, shard, ["reason"], rows=_COUNTED_AT_ONCE)
    return sum(pc.sum(pc.is_in(batch.column("reason"), value_set=values)).as_py() or 0 for batch in batches)


def refetch_shard(
    store: ShardStore, shard: str, fetcher: "Fetcher", reasons: Set[Reason], done: int
) -> Iterator[Rows | pa.RecordBatch]:
    """The complete file's rows behind the first `done`, those with `reasons` fetched anew, the others untouched.

    The file is read twice side by side, once without its images and ahead of the other by as much as the fetcher looks
    ahead: wanted rows may be far apart, and nothing between them is held.
    """
    seen, ids = SeenUrls(), SampleIds()

    def urls() -> Iterator[str | None]:
        for number, row in enumerate(stage_rows(store, _STAGE, shard, ["URL", "sample_id", "reason"])):
            ids.append(row["sample_id"])
            if number >= done and _is_wanted(row, reasons):
                yield row["URL"]
            else:
                seen.add(row["URL"])

    with closing(fetcher.fetch(urls(), seen)) as fetched:
        start = 0
        for batch in store.batches(_STAGE, shard):
            behind = batch.slice(min(batch.num_rows, max(0, done - start)))
            start += batch.num_rows
            yield from _with_fetched(behind, reasons, fetched, ids)


def _with_fetched(
    batch: pa.RecordBatch, reasons: Set[Reason], fetched: "Iterator[Fetched]", ids: SampleIds
) -> Iterator[Rows | pa.RecordBatch]:
    start = 0
    for wanted, run in groupby(batch.column("reason").to_pylist(), lambda reason: reason in reasons):
        rows = batch.slice(start, sum(1 for _ in run))
        start += rows.num_rows
        if wanted:
            yield from appendable(fetched_row(row, next(fetched), ids) for row in rows.to_pylist())
        else:
            yield rows


def _is_wanted(row: dict[str, Any], reasons: Set[Reason]) -> bool:
    return row["reason"] in reasons
