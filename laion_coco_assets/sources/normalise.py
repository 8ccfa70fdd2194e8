"""Tables with LAION's columns, in any casing and of any drifted type, brought to the schema SOURCE batch by batch."""

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa
from upath import UPath

from laion_coco_assets.contract.shared_columns import CARRIED_OVER, SOURCE
from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.column_values import as_json, as_numbers, as_strings, decoded, is_textual
from laion_coco_assets.sources.sample_id import sample_id

_REQUIRED: Final = ("URL", "TEXT")
#: img2dataset's `width` and `height` are sizes after resizing; the picture's own have names that begin with this.
ORIGINAL: Final = "original_"


def normalised(
    path: UPath, batches: Iterable[pa.RecordBatch], start: int = 0, *, images: bool = False
) -> Iterator[pa.RecordBatch]:
    """Batches of one schema with any names and types, as batches of SOURCE, from row `start` on.

    Args:
        path: the file, for messages.
        batches: all rows of the file, from its first.
        start: rows to skip.
        images: as in `find_columns`.

    Raises:
        SourceError: as `find_columns`, or URL or TEXT is no text.
    """
    first_row = 0
    columns: dict[str, int] = {}
    for batch in batches:
        columns = columns or find_columns(path, batch.schema, images=images)
        if first_row + batch.num_rows > start:
            skip = max(0, start - first_row)
            yield _normalise(path, batch.slice(skip), columns, first_row + skip)
        first_row += batch.num_rows


def find_columns(path: UPath, schema: pa.Schema, *, images: bool = False) -> dict[str, int]:
    """Index of each known column: the column of exactly that name, else the first with that name in another casing.

    `images`: the file brings images, so its columns may have img2dataset's names.

    Raises:
        SourceError: a required column is missing.
    """
    columns = {}
    for name in (*_REQUIRED, *CARRIED_OVER):
        candidates = _candidates(schema, name, images)
        exact = [i for i in candidates if schema.names[i] == name]
        if candidates:
            columns[name] = (exact or candidates)[0]
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        names = ", ".join(schema.names) or "none"
        raise SourceError(f"{path}: no column {' and '.join(missing)} (any casing); its columns are: {names}")
    return columns


def _candidates(schema: pa.Schema, name: str, images: bool) -> list[int]:
    def called(wanted: str) -> list[int]:
        return [i for i, column in enumerate(schema.names) if column.casefold() == wanted.casefold()]

    if images and name == "TEXT":
        return called(name) or called("caption")
    if images and name in CARRIED_OVER:
        return called(f"{ORIGINAL}{name}") or called(name)
    return called(name)


def _normalise(path: UPath, batch: pa.RecordBatch, columns: dict[str, int], first_row: int) -> pa.RecordBatch:
    known: dict[str, pa.Array] = {}
    extra = {name: i for i, name in enumerate(batch.schema.names) if i not in columns.values()}
    for name in _REQUIRED:
        column = decoded(batch.column(columns[name]))
        if not is_textual(column.type):
            raise SourceError(f"{path}: column {name} is {column.type}; it must be text")
        known[name] = as_strings(column)
    for name, type_ in CARRIED_OVER.items():
        if name not in columns:
            known[name] = pa.nulls(batch.num_rows, type_)
            continue
        column = batch.column(columns[name])
        known[name] = as_numbers(column, type_)
        if known[name].null_count > column.null_count:
            extra[name] = columns[name]  # what is no such number is kept as it came
    pairs = zip(known["URL"].to_pylist(), known["TEXT"].to_pylist(), strict=True)
    known["row"] = pa.array(range(first_row, first_row + batch.num_rows), pa.int64())
    known["sample_id"] = pa.array([sample_id(url, text) for url, text in pairs], pa.string())
    known["source_extra"] = as_json(batch, extra)
    return pa.RecordBatch.from_arrays([known[name] for name in SOURCE.names], schema=SOURCE)
