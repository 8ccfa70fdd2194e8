"""Reading source shards: parquet with LAION's columns in any casing, brought to one schema a batch at a time."""

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.errors import SourceError
from laion_coco_assets.shards.fingerprint import stream_digest
from laion_coco_assets.shards.schemas import CARRIED_OVER, SOURCE

_REQUIRED: Final = ("URL", "TEXT")
_BATCH_ROWS: Final = 1024


def sample_id(url: str | None, text: str | None) -> str:
    """First 128 bits, hex, of SHA-256 over URL, NUL, TEXT: what joins every output of every run."""
    material = (url or "").encode() + b"\0" + (text or "").encode()
    return hashlib.sha256(material).hexdigest()[:32]


def list_sources(source: str) -> dict[str, "SourceShard"]:
    """The source shards of a file, a folder or a glob, local or on any fsspec URL, by shard key (the file's stem).

    Raises:
        SourceError: nothing there, two files of one stem, or a stem that can not be a partition key.
    """
    found: dict[str, SourceShard] = {}
    for path in _paths(source):
        key = path.name.removesuffix(".parquet")
        if not key or "..." in key or any(ord(char) < 32 or char in "/\\" for char in key):
            raise SourceError(f"{path}: the file's stem names the shard, and {key!r} can not; rename the file")
        if key in found:
            raise SourceError(f"{path} and {found[key].path} would both be shard {key!r}; rename one")
        found[key] = SourceShard(key, path)
    return found


def _paths(source: str) -> list[UPath]:
    path = UPath(source)
    try:
        if any(char in source for char in "*?["):
            protocol = f"{path.protocol}://" if path.protocol not in ("", "file", "local") else ""
            matches = [UPath(protocol + str(match), **path.storage_options) for match in path.fs.glob(path.path)]
            paths = [match for match in matches if match.name.endswith(".parquet")]
        elif path.is_dir():
            paths = [each for each in path.iterdir() if each.name.endswith(".parquet")]
        else:
            paths = [path] if path.exists() else []
    except (ValueError, ImportError) as error:  # fsspec: an unknown protocol, or one whose package is missing
        raise SourceError(f"source {source!r}: {error}") from None
    if not paths:
        raise SourceError(f"source {source!r}: no .parquet file there; name a file, a folder or a glob in quotes")
    return sorted(paths, key=lambda each: each.name)


@dataclass(frozen=True)
class SourceShard:
    """One source parquet file."""

    key: str
    path: UPath

    @property
    def rows(self) -> int:
        """Number of rows; raises SourceError for a file that can not be a source."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    @property
    def digest(self) -> str:
        """What is in the file (32 hex digits): stages made from other content are stale."""
        with self.path.open("rb") as stream:
            return stream_digest(stream, self.path.stat().st_size).hex()[:32]

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """The rows from `start` on, with schema SOURCE, in batches of bounded size."""
        with self._open() as file:
            columns = self._columns(file.schema_arrow)
            row = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                if row + batch.num_rows > start:
                    skip = max(0, start - row)
                    yield self._normalise(batch.slice(skip), columns, row + skip)
                row += batch.num_rows

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise SourceError(f"{self.path}: can not be read: {error.strerror or error}") from None
        with stream:
            try:
                file = pq.ParquetFile(stream)
            except (pa.ArrowInvalid, OSError) as error:
                raise SourceError(f"{self.path}: not a parquet file: {error}") from None
            self._columns(file.schema_arrow)
            if file.metadata.num_rows == 0:
                raise SourceError(f"{self.path}: has no rows; remove it from the source")
            try:
                yield file
            except pa.ArrowException as error:
                raise SourceError(f"{self.path}: damaged: {error}") from None

    def _columns(self, schema: pa.Schema) -> dict[str, int]:
        """Index of each known column: by its own name if it is there, else by that name in another casing."""
        columns: dict[str, int] = {}
        for name in (*_REQUIRED, *CARRIED_OVER):
            same = [i for i, have in enumerate(schema.names) if have.casefold() == name.casefold()]
            exact = [i for i in same if schema.names[i] == name]
            if same:
                columns[name] = (exact or same)[0]
        missing = [name for name in _REQUIRED if name not in columns]
        if missing:
            have = ", ".join(schema.names) or "none"
            raise SourceError(f"{self.path}: no column {' and '.join(missing)} (any casing); its columns are: {have}")
        return columns

    def _normalise(self, batch: pa.RecordBatch, columns: dict[str, int], first_row: int) -> pa.RecordBatch:
        known: dict[str, pa.Array] = {}
        for name in _REQUIRED:
            known[name] = self._strings(batch.column(columns[name]), name)
        for name, type_ in CARRIED_OVER.items():
            if name in columns:
                known[name] = self._numbers(batch.column(columns[name]), type_, name, first_row)
            else:
                known[name] = pa.nulls(batch.num_rows, type_)
        pairs = zip(known["URL"].to_pylist(), known["TEXT"].to_pylist(), strict=True)
        known["row"] = pa.array(range(first_row, first_row + batch.num_rows), pa.int64())
        known["sample_id"] = pa.array([sample_id(url, text) for url, text in pairs], pa.string())
        known["source_extra"] = _extra(batch, set(columns.values()))
        return pa.RecordBatch.from_arrays([known[name] for name in SOURCE.names], schema=SOURCE)

    def _strings(self, column: pa.Array, name: str) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        type_ = column.type
        textual = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
        if not (textual or pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_null(type_)):
            raise SourceError(f"{self.path}: column {name} is {type_}; it must be text")
        try:
            strings = column.cast(pa.string())
            strings.validate(full=True)
        except pa.ArrowInvalid:  # not UTF-8: keep the row, mark what could not be read
            raw = column.cast(pa.binary()).to_pylist()
            return pa.array([None if each is None else each.decode("utf-8", "replace") for each in raw], pa.string())
        return strings

    def _numbers(self, column: pa.Array, type_: pa.DataType, name: str, first_row: int) -> pa.Array:
        """Int, float or text to `type_`; NaN and blank text are null."""
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        try:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column = pc.utf8_trim_whitespace(column)
                column = pc.if_else(pc.equal(column, ""), None, column)
                column = column.cast(type_ if pa.types.is_integer(type_) else pa.float64())
            if pa.types.is_floating(column.type):
                finite = pc.is_finite(column)
                column = pc.if_else(pc.fill_null(finite, False), column, None)
                if pa.types.is_integer(type_):
                    column = pc.round(column)
            # Unsigned keys of the 64-bit hash keep their bits.
            return column.cast(type_, safe=pa.types.is_floating(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            rows = f"rows {first_row} to {first_row + len(column) - 1}"
            raise SourceError(f"{self.path}: column {name}, {rows}: not numbers of type {type_}: {error}") from None


def _extra(batch: pa.RecordBatch, taken: set[int]) -> pa.Array:
    others = [i for i in range(batch.num_columns) if i not in taken]
    if not others:
        return pa.nulls(batch.num_rows, pa.string())
    rows = batch.select(others).to_pylist()
    return pa.array([json.dumps(_plain(row), ensure_ascii=False) for row in rows], pa.string())


def _plain(value: Any) -> Any:
    """A value that JSON has: bytes as base64, not-a-number as null, times and decimals as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return str(value)
