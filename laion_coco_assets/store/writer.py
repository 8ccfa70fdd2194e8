"""Writing a stage file: rows go to checkpoints until the last one has come, then they are merged into the whole file."""

import time
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.contract.stage_info import ReusedFile, StageKey, file_metadata
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.checkpoints import Checkpoints
from laion_coco_assets.store.encoding import HashingSink, encoding, row_group_rows, row_groups
from laion_coco_assets.store.stage_file import StageFile

_CHECKPOINT_ROWS: Final = 500
_CHECKPOINT_BYTES: Final = 64 << 20
_CHECKPOINT_SECONDS: Final = 20.0


class StageWriter:
    """Takes a stage's rows in order and leaves a whole file or, when interrupted, checkpoints.

    >>> with store.write(key, schema) as writer:
    ...     for rows in work(skip=writer.done):
    ...         writer.append(rows)

    Leaving the block normally merges and publishes the file. Leaving it by any exception, Ctrl-C included, keeps what
    was appended; the next writer of the same key resumes with `done` rows. With `replacing`, a complete file stays until
    the new one takes its place. Unfinished work under other settings or inputs is deleted, unless `keep_others`.
    """

    def __init__(
        self,
        file: StageFile,
        key: StageKey,
        schema: pa.Schema,
        checkpoints: Checkpoints,
        lock: AbstractContextManager[None],
        replacing: ReusedFile | None = None,
        *,
        keep_others: bool = False,
    ) -> None:
        self._file = file
        self._key = key
        self._checkpoints = checkpoints
        self._lock = lock
        self._replacing = replacing
        self._keep_others = keep_others
        self._metadata: dict[str, Any] = {}
        self._schema = schema
        self._buffer: list[pa.RecordBatch] = []
        self._flushed_at = 0.0
        self._held = ExitStack()
        #: Whether the file was complete, or already replaced, when the lock was taken: nothing may be appended then.
        self.complete = False

    @property
    def done(self) -> int:
        """Rows appended so far, including those of earlier runs."""
        return self._checkpoints.rows + self._waiting

    @property
    def _waiting(self) -> int:
        """Rows that are in no checkpoint yet."""
        return sum(int(batch.num_rows) for batch in self._buffer)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            self.complete = self._is_complete()
            if not self.complete:
                if not self._keep_others:
                    self._checkpoints.remove_strangers()
                self._checkpoints.resume()
            self._flushed_at = time.monotonic()
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if self.complete:
                return
            self._flush()
            if kind is None:
                self._merge()

    def _is_complete(self) -> bool:
        if not self._file.is_complete(self._key):
            return False
        return self._replacing is None or self._file.need().content != self._replacing.content

    def describe(self, **metadata: Any) -> None:
        """Add to the file's metadata."""
        self._metadata |= metadata

    def append(self, rows: list[dict[str, Any]] | pa.RecordBatch) -> None:
        """Append the rows that follow. They are safe on disk within 20 s or 500 rows."""
        batch = rows if isinstance(rows, pa.RecordBatch) else pa.RecordBatch.from_pylist(rows, schema=self._schema)
        if batch.num_rows == 0:
            return
        self._buffer.append(batch)
        size = sum(buffered.nbytes for buffered in self._buffer)
        old = time.monotonic() - self._flushed_at > _CHECKPOINT_SECONDS
        if self._waiting >= _CHECKPOINT_ROWS or size >= _CHECKPOINT_BYTES or old:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            self._checkpoints.add(pa.Table.from_batches(self._buffer, self._schema))
            self._buffer = []
        self._flushed_at = time.monotonic()

    def _merge(self) -> None:
        with atomically(self._file.path, self._checkpoints.folder) as local, local.open("wb") as stream:
            sink = HashingSink(stream)
            sunk = pa.PythonFile(sink, mode="w")
            batches = self._checkpoints.batches(row_group_rows(self._schema))
            with pq.ParquetWriter(sunk, self._schema, **encoding(self._schema), write_page_checksum=True) as writer:
                for table in row_groups(batches, self._schema):
                    writer.write_table(table, row_group_size=table.num_rows)
                    del table  # before the next one is combined
                writer.add_key_value_metadata(file_metadata(self._key, sink.hexdigest(), self._metadata))
        self._checkpoints.remove()
