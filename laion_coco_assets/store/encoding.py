"""How stage files are laid out as parquet: compression, row groups, and the digest of the rows as written.

The layout follows from the rows alone, never from how they arrived or where a run was killed.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

#: Of rows with images: as many as Hugging Face's viewer shows, and several such groups fit in memory.
IMAGE_ROW_GROUP_ROWS: Final = 100
_ROW_GROUP_ROWS: Final = 1000
_ROW_GROUP_BYTES: Final = 128 << 20


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """Arguments for pyarrow: zstd and dictionaries for all but image bytes, which are compressed already and never repeat.

    A page ends only after a write batch and is in memory twice, so each image is a batch of its own.
    """
    leaves = [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]
    return {
        "write_batch_size": 1 if "image" in leaves else None,
        "compression": {leaf: "NONE" if leaf == "image" else "ZSTD" for leaf in leaves},
        "use_dictionary": [leaf for leaf in leaves if leaf != "image"] if "image" in leaves else True,
    }


def row_group_rows(schema: pa.Schema) -> int:
    """The most rows that a row group of a file may have."""
    return IMAGE_ROW_GROUP_ROWS if "image" in schema.names else _ROW_GROUP_ROWS


def row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """All rows, cut every `row_group_rows` rows or 128 MiB of images, wherever the batches end."""
    rows = row_group_rows(schema)
    waiting: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        start = 0
        for i, image_bytes in enumerate(_image_sizes(batch)):
            count += 1
            size += image_bytes
            if count == rows or size >= _ROW_GROUP_BYTES:
                waiting.append(batch.slice(start, i + 1 - start))
                yield _combined(waiting, schema)
                count, size, start = 0, 0, i + 1
        waiting.append(batch.slice(start))
    if count:
        yield _combined(waiting, schema)


def _combined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """One table of all batches. The list is emptied, so that nothing is held twice."""
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    batches.clear()
    return table


def _image_sizes(batch: pa.RecordBatch) -> list[int]:
    """Bytes of each row's image; 0 for a row without one."""
    if "image" not in batch.schema.names:
        return [0] * batch.num_rows
    lengths = pc.fill_null(pc.binary_length(batch.column("image")), 0)
    return list(lengths.to_pylist())


class HashingSink(io.RawIOBase):
    """Passes bytes on and hashes them. Until the footer is written, the hash is that of the rows."""

    def __init__(self, stream: io.BufferedWriter) -> None:
        super().__init__()
        self._stream = stream
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        """Always: see `io`."""
        return True

    def write(self, data: Any) -> int:
        """Writes all of `data`: see `io`."""
        self._digest.update(data)
        return self._stream.write(data)

    def tell(self) -> int:
        """The position of the stream that bytes are passed on to: see `io`."""
        return self._stream.tell()

    def hexdigest(self) -> str:
        """The first 32 hex digits of the SHA-256 of everything written so far."""
        return self._digest.hexdigest()[:32]
