"""Unfinished work on a stage of a shard: parts on disk, in a folder that belongs to their key alone.

`StageWriter` decides when a part is written, and merges the parts in the end.
"""

import re
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.contract.stage_info import ReusedFile, StageKey, short_digest
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.encoding import encoding

#: A checkpoint folder's name: the shard, the digest of the file to be made and, when it replaces another, that of the selection.
CHECKPOINT: Final = re.compile(r"(?P<shard>.+)-(?P<file>[0-9a-f]{16})(\.[0-9a-f]{16})?", re.DOTALL)
_PART: Final = re.compile(r"part-(\d{12})-(\d{12})\.parquet")


class Checkpoints:
    """Parts of one file in the order of its rows. There are none before `resume` or `add`."""

    def __init__(self, folder: UPath, key: StageKey, replacing: ReusedFile | None = None) -> None:
        name = key.digest
        if replacing is not None:
            name = f"{short_digest(key.digest, replacing.content)}.{short_digest(replacing.selection)}"
        self._shard = key.shard
        self._parts: list[UPath] = []
        #: Where the parts lie, below the folder of all checkpoints.
        self.folder = folder / key.stage / f"{key.shard}-{name}"
        #: Rows in all parts together.
        self.rows = 0

    def resume(self) -> None:
        """Take over the whole parts of an earlier run, up to the first gap."""
        if not self.folder.is_dir():
            return
        for part in sorted(self.folder.iterdir(), key=lambda path: path.name):
            match = _PART.fullmatch(part.name)
            if match is None:
                continue
            start, stop = int(match[1]), int(match[2])
            if start != self.rows or not _has_rows(part, stop - start):
                return
            self._parts.append(part)
            self.rows = stop

    def add(self, table: pa.Table) -> None:
        """Write one more part: the rows that follow."""
        stop = self.rows + table.num_rows
        part = self.folder / f"part-{self.rows:012d}-{stop:012d}.parquet"
        with atomically(part) as local:
            pq.write_table(table, local, **encoding(table.schema))
        self._parts.append(part)
        self.rows = stop

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of all parts, at most `rows` at a time."""
        for part in self._parts:
            with part.open("rb") as stream:
                yield from pq.ParquetFile(stream).iter_batches(batch_size=rows)

    def remove(self) -> None:
        """Delete the folder: the file is complete."""
        if self.folder.is_dir():
            self.folder.fs.rm(self.folder.path, recursive=True)

    def remove_strangers(self) -> None:
        """Delete checkpoints of this shard's stage that nothing will resume: those under other settings or inputs, or of a
        file that was replaced. Those of another selection stay: the same file may be made again from them."""
        if not self.folder.parent.is_dir():
            return
        for other in self.folder.parent.iterdir():
            match = CHECKPOINT.fullmatch(other.name)
            if match is None or match["shard"] != self._shard:
                continue
            if not self.folder.name.startswith(f"{match['shard']}-{match['file']}"):
                other.fs.rm(other.path, recursive=True)


def _has_rows(part: UPath, rows: int) -> bool:
    try:
        with part.open("rb") as stream:
            return bool(pq.ParquetFile(stream).metadata.num_rows == rows)
    except (pa.ArrowException, OSError):
        return False
