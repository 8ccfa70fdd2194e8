"""Refetch: the rows of a complete file that failed for certain reasons are fetched again; all others stay as they are."""

from collections.abc import Iterator, Set
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.contract.stage_info import ReusedFile, StageInfo, StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.fetching.duplicates import SampleIds, SeenUrls
from laion_coco_assets.fetching.fetched_rows import appendable, fetched_row
from laion_coco_assets.stages.stage import Rows
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetched, Fetcher

_STAGE = StageName.FETCHED_IMAGES
_COUNTED_AT_ONCE: Final = 10_000


@dataclass(frozen=True)
class Refetch:
    """What of a complete file is made again: its rows that failed for certain reasons."""

    info: StageInfo
    reasons: Set[Reason]
    #: How many rows have one of these reasons.
    rows: int

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """Every refetch of the file up to this one, as its metadata lists them."""
        this = {"content": self.info.content, "reasons": sorted(self.reasons), "rows": self.rows, "run": run_id}
        return [*_refetches(self.info), this]

    @property
    def reused_file(self) -> ReusedFile:
        """The file whose rows are used again.

        Refetches are counted, because one that changes no row leaves the same content. So checkpoints that a process
        killed just after an earlier refetch left behind are not taken for this one's.
        """
        return ReusedFile(self.info.content, f"{len(_refetches(self.info))}:{','.join(sorted(self.reasons))}")


def planned_refetch(store: ShardStore, key: StageKey, reasons: Set[Reason], run_id: str) -> Refetch | None:
    """The refetch of a shard; None when the file has no such row, or when this run has refetched it already.

    A run comes to a shard a second time when it tries again because of another shard.

    Raises:
        StoreError: the file does not exist, or was made with other settings or from another source.
    """
    info = store.need(_STAGE, key.shard)
    if info.key != key:
        raise StoreError(
            f"{store.path(_STAGE, key.shard)} was made with other settings or from another source: "
            "a refetch would mix them; fetch the whole shard first"
        )
    refetches = _refetches(info)
    if refetches and refetches[-1].get("run") == run_id:
        return None
    rows = wanted_rows(store, key.shard, reasons)
    return Refetch(info, reasons, rows) if rows else None


def _refetches(info: StageInfo) -> list[dict[str, Any]]:
    return list(info.metadata.get("refetches", []))


def wanted_rows(store: ShardStore, shard: str, reasons: Set[Reason]) -> int:
    """How many rows of a complete file have one of these reasons.

    Raises:
        StoreError: the file does not exist, or is damaged.
    """
    values = pa.array(sorted(reasons), pa.string())
    batches = store.batches(_STAGE, shard, ["reason"], rows=_COUNTED_AT_ONCE)
    return sum(pc.sum(pc.is_in(batch.column("reason"), value_set=values)).as_py() or 0 for batch in batches)


def refetch_shard(
    store: ShardStore, shard: str, fetcher: "Fetcher", reasons: Set[Reason], done: int
) -> Iterator[Rows | pa.RecordBatch]:
    """The complete file's rows after the first `done`: those with `reasons` fetched again, the others unchanged.

    The file is read twice at the same time. The reading without images is ahead of the other by as much as the fetcher
    looks ahead. Wanted rows may be far apart, so no row between them is held in memory.
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
            remaining = batch.slice(min(batch.num_rows, max(0, done - start)))
            start += batch.num_rows
            yield from _with_fetched(remaining, reasons, fetched, ids)


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
