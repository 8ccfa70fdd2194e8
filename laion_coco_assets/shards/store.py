"""The shard store: where stage files lie, how they appear at once and whole, and how work inside a shard is kept.

A stage's rows are appended to checkpoints, small parquet parts below `<data>/.checkpoints`. When the last row is there
they are merged into `<data>/<stage>/<shard>.parquet`, which appears atomically. A run that was killed finds its parts
and goes on behind them; where parts were cut leaves no trace in the merged file.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.errors import StoreError, StoreUnavailableError, may_pass_by_itself
from laion_coco_assets.shards.schemas import SCHEMAS

try:
    import fcntl
except ImportError:  # not POSIX: writers are not kept apart
    fcntl = None  # type: ignore[assignment]

_LOCAL: Final = ("", "file", "local")
#: An object appears there only when its upload is complete, so no rename is needed.
_OBJECT_STORES: Final = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl")

_CHECKPOINTS: Final = ".checkpoints"
#: A checkpoint folder's name: shard, the digest of the file it belongs to, and of the selection when it replaces one.
CHECKPOINT: Final = re.compile(r"(?P<shard>.+)-(?P<file>[0-9a-f]{16})(\.[0-9a-f]{16})?", re.DOTALL)
_PART: Final = re.compile(r"part-(\d{12})-(\d{12})\.parquet")
_WILDCARD: Final = re.compile(r"[*?\[]")
_KEY_PREFIX: Final = "laion_coco."
_ROW_GROUP_ROWS: Final = 1000
#: Images: what Hugging Face's viewer shows, and what fits in memory a few times over.
_IMAGE_ROW_GROUP_ROWS: Final = 100
_ROW_GROUP_BYTES: Final = 128 << 20
_CHECKPOINT_ROWS: Final = 500
_CHECKPOINT_BYTES: Final = 64 << 20
_CHECKPOINT_SECONDS: Final = 20.0


@dataclass(frozen=True)
class StageKey:
    """What makes a stage file the right one: the settings behind it, and the files it was made from."""

    stage: str
    shard: str
    fingerprint: str
    #: Content digests of the files read, by stage name (`source` for the source shard).
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names the checkpoints that belong to this key, and no others."""
        return _digest(self.stage, self.shard, self.fingerprint, dict(self.inputs))


@dataclass(frozen=True)
class Replacing:
    """A file that is to be made again, in part from itself."""

    #: Content digest of the file as it is now.
    content: str
    #: Which rows are made again, or with what: parts of one selection never join those of another.
    selection: str


@dataclass(frozen=True)
class StageInfo:
    """What a stage file says of itself in its parquet metadata."""

    key: StageKey
    content: str  # hash of the rows as written: what later stages name as their input
    rows: int
    metadata: Mapping[str, Any]


class ShardStore:
    """Stage files under one folder, local or on any fsspec URL."""

    def __init__(self, data_dir: str | Path | UPath) -> None:
        self.root = UPath(data_dir)
        try:
            self._fs = self.root.fs
        except (ValueError, ImportError) as error:
            raise StoreError(f"data dir {data_dir}: {error}") from None

    @property
    def checkpoints(self) -> UPath:
        """Where unfinished work lies, a folder a stage."""
        return self.root / _CHECKPOINTS

    def path(self, stage: str, shard: str) -> UPath:
        """Where a stage's file for a shard lies."""
        return self.root / stage / f"{shard}.parquet"

    @property
    def is_local(self) -> bool:
        """Whether the files lie on this machine's own file system."""
        return self.root.protocol in _LOCAL

    def sql_path(self, stage: str, shard: str) -> str:
        """The file's path as DuckDB names it."""
        path = self.path(stage, shard)
        return path.path if self.is_local else f"{path.protocol}://{path.path}"

    def sql_pattern(self, stage: str, shard: str) -> str:
        """What DuckDB reads the file by, and no other; elsewhere than locally, `root.fs` must be registered with it."""
        return _WILDCARD.sub(r"[\g<0>]", self.sql_path(stage, shard))

    def shards(self, stage: str) -> list[str]:
        """Shards that have a file of this stage, in order."""
        folder = self.root / stage
        if not folder.is_dir():
            return []
        return sorted(each.name.removesuffix(".parquet") for each in folder.iterdir() if each.name.endswith(".parquet"))

    def info(self, stage: str, shard: str) -> StageInfo | None:
        """What the file says of itself; None when there is none.

        Raises:
            StoreError: the file is damaged, or not this project's.
        """
        if not self.path(stage, shard).exists():
            return None
        with self.open(stage, shard) as file:
            return _info(file, self.path(stage, shard))

    def need(self, stage: str, shard: str) -> StageInfo:
        """Like `info`, for a file that must be there.

        Raises:
            StoreError: no such file, or a damaged one.
        """
        info = self.info(stage, shard)
        if info is None:
            raise StoreError(f"{self.path(stage, shard)} is not there: materialise {stage} of shard {shard} first")
        return info

    def is_complete(self, key: StageKey) -> bool:
        """Whether the file is there and was made with these settings from these inputs."""
        try:
            info = self.info(key.stage, key.shard)
        except StoreUnavailableError:
            raise
        except StoreError:
            return False  # a damaged file is made anew
        return info is not None and info.key == key

    def made_from_other(self, key: StageKey) -> bool:
        """Whether a file is there that was made from other inputs than the key's."""
        try:
            info = self.info(key.stage, key.shard)
        except StoreError:
            return False
        return info is not None and info.key.inputs != key.inputs

    @contextmanager
    def open(self, stage: str, shard: str) -> Iterator[pq.ParquetFile]:
        """The stage's file, for reading.

        Raises:
            StoreError: no such file, or not parquet.
            StoreUnavailableError: its file system failed.
        """
        path = self.path(stage, shard)
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            raise StoreError(f"{path} is not there: materialise {stage} of shard {shard} first") from None
        with stream:
            try:
                file = pq.ParquetFile(stream)
            except (pa.ArrowInvalid, OSError) as error:
                raise _unreadable(f"{path}: not a whole parquet file", error, stage) from None
            try:
                yield file
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(f"{path}: damaged", error, stage) from None

    def batches(
        self, stage: str, shard: str, columns: Iterable[str] | None = None, rows: int = _IMAGE_ROW_GROUP_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """The file's rows in order, at most `rows` at a time."""
        with self.open(stage, shard) as file:
            yield from file.iter_batches(batch_size=rows, columns=None if columns is None else list(columns))

    def write(self, key: StageKey, replacing: Replacing | None = None, *, keep_others: bool = False) -> "StageWriter":
        """A writer for the stage's file; a context manager, see `StageWriter`."""
        return StageWriter(self, key, replacing, keep_others=keep_others)

    def prepare(self) -> None:
        """Make sure now that the folder can be written to, not after hours of work.

        Raises:
            StoreError: it can not.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except Exception as error:  # of any file system's client
            raise StoreError(f"data dir {self.root} can not be written to: {error or type(error).__name__}") from error

    def checkpoint_dir(self, key: StageKey, replacing: Replacing | None = None) -> UPath:
        """Where the parts of unfinished work for this key lie."""
        name = key.digest
        if replacing is not None:
            name = f"{_digest(key.digest, replacing.content)}.{_digest(replacing.selection)}"
        return self.checkpoints / key.stage / f"{key.shard}-{name}"

    def publish(self, local: Path, path: UPath) -> None:
        """Make a local file appear at `path` at once and whole; the local one is gone afterwards."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.is_local:
            with local.open("rb") as stream:
                os.fsync(stream.fileno())
            local.replace(path.path)
        elif self.root.protocol in _OBJECT_STORES:
            self._fs.put_file(str(local), path.path)
            local.unlink()
        else:
            beside = f"{path.parent.path}/.{path.name}.{uuid.uuid4().hex}"
            self._fs.put_file(str(local), beside)
            self._fs.mv(beside, path.path)
            local.unlink()

    def scratch_dir(self, folder: UPath) -> Path:
        """A local folder from which `publish` can move a file to `folder`'s file system at once."""
        if self.is_local:
            folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.path))
        return Path(tempfile.mkdtemp(prefix="laion-coco-"))

    @contextmanager
    def lock(self, key: StageKey) -> Iterator[None]:
        """Keeps a second process on this machine from writing the same stage of the same shard.

        The operating system lets go of it when the process dies, however it dies.
        """
        if not self.is_local or fcntl is None:
            yield
            return
        folder = self.checkpoints / key.stage
        folder.mkdir(parents=True, exist_ok=True)
        with Path((folder / f"{key.shard}.lock").path).open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = self.path(key.stage, key.shard)
                raise StoreUnavailableError(
                    f"{where} is being written by another process; wait for it, or stop it"
                ) from None
            yield


class StageWriter:
    """Takes a stage's rows in order and leaves a whole file or, when interrupted, checkpoints.

    >>> with store.write(key) as writer:
    ...     for rows in work(skip=writer.done):
    ...         writer.append(rows)

    Leaving the block normally merges and publishes the file. Leaving it by any exception, Ctrl-C included, keeps what
    was appended; the next writer of the same key starts with `done` rows. With `replacing`, a complete file stays as
    it is until the new one takes its place. Unfinished work under other settings or inputs is removed, unless `keep_others`.
    """

    def __init__(
        self, store: ShardStore, key: StageKey, replacing: Replacing | None = None, *, keep_others: bool = False
    ) -> None:
        self._store = store
        self._key = key
        self._replacing = replacing
        self._keep_others = keep_others
        self._metadata: dict[str, Any] = {}
        self._schema = SCHEMAS[key.stage]
        self._folder = store.checkpoint_dir(key, replacing)
        self._parts: list[UPath] = []
        self._buffer: list[pa.RecordBatch] = []
        self._flushed = 0  # rows in parts
        self._flushed_at = 0.0
        self._lock = ExitStack()
        #: Whether the file was there, or replaced, when the lock was had: nothing is left to do or may be appended.
        self.complete = False

    @property
    def done(self) -> int:
        """Rows appended so far, those of earlier runs included."""
        return self._flushed + sum(int(each.num_rows) for each in self._buffer)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._store.lock(self._key))
            self.complete = self._is_complete()
            if not self.complete:
                if not self._keep_others:
                    self._remove_strangers()
                for part, stop in self._found_parts():
                    self._parts.append(part)
                    self._flushed = stop
            self._flushed_at = time.monotonic()
            self._lock = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self.complete:
                return
            self._flush()
            if kind is None:
                self._merge()

    def _is_complete(self) -> bool:
        if not self._store.is_complete(self._key):
            return False
        now = self._store.need(self._key.stage, self._key.shard).content
        return self._replacing is None or now != self._replacing.content

    def describe(self, **metadata: Any) -> None:
        """More of what the file will say of itself."""
        self._metadata |= metadata

    def append(self, rows: list[dict[str, Any]] | pa.RecordBatch) -> None:
        """Rows that follow those appended before. They are safe on disk within 20 s or 500 rows."""
        batch = rows if isinstance(rows, pa.RecordBatch) else pa.RecordBatch.from_pylist(rows, schema=self._schema)
        if batch.num_rows == 0:
            return
        self._buffer.append(batch)
        size = sum(each.nbytes for each in self._buffer)
        old = time.monotonic() - self._flushed_at > _CHECKPOINT_SECONDS
        if self.done - self._flushed >= _CHECKPOINT_ROWS or size >= _CHECKPOINT_BYTES or old:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            table = pa.Table.from_batches(self._buffer, self._schema)
            stop = self._flushed + table.num_rows
            part = self._folder / f"part-{self._flushed:012d}-{stop:012d}.parquet"
            scratch = self._store.scratch_dir(self._folder)
            try:
                local = scratch / part.name
                pq.write_table(table, local, **_encoding(self._schema))
                self._store.publish(local, part)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            self._parts.append(part)
            self._buffer, self._flushed = [], stop
        self._flushed_at = time.monotonic()

    def _found_parts(self) -> Iterator[tuple[UPath, int]]:
        """Whole parts of an earlier run, as far as they follow one another without a gap, and the row each ends at."""
        if not self._folder.is_dir():
            return
        reached = 0
        for part in sorted(self._folder.iterdir(), key=lambda each: each.name):
            named = _PART.fullmatch(part.name)
            if named is None:
                continue
            start, stop = int(named[1]), int(named[2])
            if start != reached or not _has_rows(part, stop - start):
                return
            reached = stop
            yield part, stop

    def _remove_strangers(self) -> None:
        """Checkpoints of this shard's stage that nothing will ever resume: under other settings or inputs, or of a file
        that is gone. Those of another selection stay: the same file may be made again from them."""
        folder = self._folder.parent
        if not folder.is_dir():
            return
        for other in folder.iterdir():
            named = CHECKPOINT.fullmatch(other.name)
            if named is None or named["shard"] != self._key.shard:
                continue
            if not self._folder.name.startswith(f"{named['shard']}-{named['file']}"):
                other.fs.rm(other.path, recursive=True)

    def _merge(self) -> None:
        scratch = self._store.scratch_dir(self._folder)
        try:
            local = scratch / "whole.parquet"
            with local.open("wb") as stream:
                self._write_whole(stream)
            self._store.publish(local, self._store.path(self._key.stage, self._key.shard))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if self._folder.is_dir():
            self._folder.fs.rm(self._folder.path, recursive=True)

    def _write_whole(self, stream: io.BufferedWriter) -> None:
        sink = _HashingSink(stream)
        images = "image" in self._schema.names
        sunk = pa.PythonFile(sink, mode="w")
        with pq.ParquetWriter(sunk, self._schema, **_encoding(self._schema), write_page_checksum=True) as writer:
            for table in self._row_groups(_IMAGE_ROW_GROUP_ROWS if images else _ROW_GROUP_ROWS):
                writer.write_table(table, row_group_size=table.num_rows)
            said = {
                "stage": self._key.stage,
                "shard": self._key.shard,
                "fingerprint": self._key.fingerprint,
                "inputs": dict(self._key.inputs),
                "content": sink.hexdigest(),
                "writer": f"laion_coco_assets {version('laion-coco-assets')}",
                **self._metadata,
            }
            writer.add_key_value_metadata({_KEY_PREFIX + name: _encoded(value) for name, value in said.items()})

    def _row_groups(self, rows: int) -> Iterator[pa.Table]:
        """All parts' rows, cut every `rows` rows or 128 MiB of images: a rule of the rows alone."""
        waiting: list[pa.RecordBatch] = []
        count = size = 0
        for part in self._parts:
            with part.open("rb") as stream:
                for batch in pq.ParquetFile(stream).iter_batches(batch_size=rows):
                    start = 0
                    for i, image_bytes in enumerate(_image_sizes(batch)):
                        count += 1
                        size += image_bytes
                        if count == rows or size >= _ROW_GROUP_BYTES:
                            waiting.append(batch.slice(start, i + 1 - start))
                            yield pa.Table.from_batches(waiting, self._schema).combine_chunks()
                            waiting, count, size, start = [], 0, 0, i + 1
                    waiting.append(batch.slice(start))
        if count:
            yield pa.Table.from_batches(waiting, self._schema).combine_chunks()


def _digest(*material: Any) -> str:
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()[:16]


def _image_sizes(batch: pa.RecordBatch) -> list[int]:
    """Bytes of each row's image; 0 where there is none."""
    if "image" not in batch.schema.names:
        return [0] * batch.num_rows
    lengths = pc.fill_null(pc.binary_length(batch.column("image")), 0)
    return list(lengths.to_pylist())


def _has_rows(part: UPath, rows: int) -> bool:
    try:
        with part.open("rb") as stream:
            return bool(pq.ParquetFile(stream).metadata.num_rows == rows)
    except (pa.ArrowException, OSError):
        return False


class _HashingSink(io.RawIOBase):
    """Passes bytes on and hashes them: before the footer is written, the hash is that of the rows."""

    def __init__(self, stream: io.BufferedWriter) -> None:
        super().__init__()
        self._stream = stream
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return self._stream.write(data)

    def tell(self) -> int:
        return self._stream.tell()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()[:32]


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """zstd and dictionaries for all but image bytes, which are compressed already and never alike."""
    leaves = [f"{each.name}.list.element" if pa.types.is_list(each.type) else each.name for each in schema]
    return {
        "compression": {leaf: "NONE" if leaf == "image" else "ZSTD" for leaf in leaves},
        "use_dictionary": [leaf for leaf in leaves if leaf != "image"] if "image" in leaves else True,
    }


def _unreadable(what: str, error: Exception, stage: str) -> StoreError:
    if isinstance(error, OSError) and may_pass_by_itself(error):
        return StoreUnavailableError(f"{what}, or its file system failed ({error})")
    return StoreError(f"{what} ({error}); delete it and run {stage} again")


def _encoded(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _info(file: pq.ParquetFile, path: UPath) -> StageInfo:
    raw = file.metadata.metadata or {}
    said = {
        name.decode().removeprefix(_KEY_PREFIX): value.decode()
        for name, value in raw.items()
        if name.decode().startswith(_KEY_PREFIX)
    }
    try:
        key = StageKey(said.pop("stage"), said.pop("shard"), said.pop("fingerprint"), json.loads(said.pop("inputs")))
        content = said.pop("content")
    except (KeyError, ValueError):
        raise StoreError(f"{path}: parquet, but not written by this project; move it away") from None
    return StageInfo(key, content, file.metadata.num_rows, {name: _decoded(value) for name, value in said.items()})


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
