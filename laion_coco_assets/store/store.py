"""The shard store: where all stages' files of a data folder lie. How one is read, written or locked stands in the
modules it brings together: `stage_file`, `writer`, `checkpoints`, `locks`.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.contract.stage_info import Replacing, StageInfo, StageKey
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.atomic import is_local
from laion_coco_assets.store.checkpoints import Checkpoints
from laion_coco_assets.store.encoding import IMAGE_ROW_GROUP_ROWS
from laion_coco_assets.store.locks import locked
from laion_coco_assets.store.stage_file import StageFile
from laion_coco_assets.store.writer import StageWriter

_CHECKPOINTS: Final = ".checkpoints"
_WILDCARD: Final = re.compile(r"[*?\[]")


class ShardStore:
    """Stage files under one folder, local or on any fsspec URL."""

    def __init__(self, data_dir: str | Path | UPath) -> None:
        self.root = UPath(data_dir)
        try:
            self.root.fs  # noqa: B018 - an unknown protocol or a missing client shows here, not at the first file
        except (ValueError, ImportError) as error:
            raise StoreError(f"data dir {data_dir}: {error}") from None

    @property
    def checkpoints(self) -> UPath:
        """Where unfinished work lies, a folder a stage."""
        return self.root / _CHECKPOINTS

    def path(self, stage: str, shard: str) -> UPath:
        """Where a stage's file for a shard lies."""
        return self.root / stage / f"{shard}.parquet"

    def file(self, stage: str, shard: str) -> StageFile:
        """A stage's file for a shard, whether it is there or not."""
        return StageFile(self.path(stage, shard), stage, shard)

    @property
    def is_local(self) -> bool:
        """Whether the files lie on this machine's own file system."""
        return is_local(self.root)

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
        return self.file(stage, shard).info()

    def need(self, stage: str, shard: str) -> StageInfo:
        """Like `info`, for a file that must be there.

        Raises:
            StoreError: no such file, or a damaged one.
        """
        return self.file(stage, shard).need()

    def usable_info(self, stage: str, shard: str) -> StageInfo | None:
        """Like `info`, for a file that is made anew when it is damaged: None then, too.

        Raises:
            StoreUnavailableError: its file system failed.
        """
        return self.file(stage, shard).usable_info()

    def is_complete(self, key: StageKey) -> bool:
        """Whether the file is there and was made with these settings from these inputs."""
        return self.file(key.stage, key.shard).is_complete(key)

    def made_from_other(self, key: StageKey) -> bool:
        """Whether a file is there that was made from other inputs than the key's."""
        try:
            info = self.info(key.stage, key.shard)
        except StoreError:
            return False
        return info is not None and info.key.inputs != key.inputs

    def open(self, stage: str, shard: str) -> AbstractContextManager[pq.ParquetFile]:
        """The stage's file, for reading.

        Raises:
            StoreError: no such file, or not parquet.
            StoreUnavailableError: its file system failed.
        """
        return self.file(stage, shard).open()

    def batches(
        self, stage: str, shard: str, columns: Iterable[str] | None = None, rows: int = IMAGE_ROW_GROUP_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """The file's rows in order, at most `rows` at a time."""
        return self.file(stage, shard).batches(columns, rows)

    def write(self, key: StageKey, replacing: Replacing | None = None, *, keep_others: bool = False) -> StageWriter:
        """A writer for the stage's file; a context manager, see `StageWriter`."""
        return StageWriter(
            self.file(key.stage, key.shard),
            key,
            Checkpoints(self.checkpoints, key, replacing),
            self.lock(key),
            replacing,
            keep_others=keep_others,
        )

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
        return Checkpoints(self.checkpoints, key, replacing).folder

    def lock(self, key: StageKey) -> AbstractContextManager[None]:
        """Keeps a second process on this machine from writing the same stage of the same shard; see `locked`.

        Raises:
            StoreUnavailableError: when it is entered, and one is writing it.
        """
        return locked(self.checkpoints / key.stage / f"{key.shard}.lock", self.path(key.stage, key.shard))
