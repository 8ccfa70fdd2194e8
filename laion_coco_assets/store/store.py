"""The shard store: where all stages' files of a data folder lie.

How a file is read, written or locked is in the modules that it brings together: `stage_file`, `writer`, `checkpoints`, `locks`.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.contract.stage_info import ReusedFile, StageInfo, StageKey
from laion_coco_assets.contract.stage_names import STAGE_FOLDERS
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.atomic import is_local
from laion_coco_assets.store.checkpoints import Checkpoints
from laion_coco_assets.store.encoding import IMAGE_ROW_GROUP_ROWS
from laion_coco_assets.store.locks import locked
from laion_coco_assets.store.stage_file import StageFile
from laion_coco_assets.store.writer import StageWriter

_CHECKPOINTS: Final = ".checkpoints"


class ShardStore:
    """Stage files under one folder, local or on any fsspec URL."""

    def __init__(self, data_dir: str | Path | UPath, extension_stages: Iterable[str] = ()) -> None:
        self.root = UPath(data_dir)
        #: Folders that hold a file for each shard, in the order in which they are written.
        self.stages: tuple[str, ...] = (*STAGE_FOLDERS, *extension_stages)
        try:
            self.root.fs  # noqa: B018  # an unknown protocol or a missing client fails here, not at the first file
        except (ValueError, ImportError) as error:
            raise StoreError(f"data dir {data_dir}: {error}") from None

    @property
    def checkpoints(self) -> UPath:
        """Where unfinished work lies: one folder for each stage."""
        return self.root / _CHECKPOINTS

    def path(self, stage: str, shard: str) -> UPath:
        """Where a stage's file for a shard lies."""
        return self.root / stage / f"{shard}.parquet"

    def file(self, stage: str, shard: str) -> StageFile:
        """A stage's file for a shard, whether it exists or not."""
        return StageFile(self.path(stage, shard), stage, shard)

    @property
    def is_local(self) -> bool:
        """Whether the files lie on this machine's own file system."""
        return is_local(self.root)

    def shards(self, stage: str) -> list[str]:
        """Shards that have a file of this stage, in order."""
        folder = self.root / stage
        if not folder.is_dir():
            return []
        return sorted(file.name.removesuffix(".parquet") for file in folder.iterdir() if file.name.endswith(".parquet"))

    def info(self, stage: str, shard: str) -> StageInfo | None:
        """What the file's metadata tells; None when the file does not exist.

        Raises:
            StoreError: the file is damaged, or was not written by this project.
        """
        return self.file(stage, shard).info()

    def need(self, stage: str, shard: str) -> StageInfo:
        """Like `info`, for a file that must exist.

        Raises:
            StoreError: the file does not exist, or is damaged.
        """
        return self.file(stage, shard).need()

    def usable_info(self, stage: str, shard: str) -> StageInfo | None:
        """Like `info`, but also None for a damaged file: it is made again.

        Raises:
            StoreUnavailableError: its file system failed.
        """
        return self.file(stage, shard).usable_info()

    def is_complete(self, key: StageKey) -> bool:
        """Whether the file exists and was made with these settings from these inputs."""
        return self.file(key.stage, key.shard).is_complete(key)

    def made_from_other(self, key: StageKey) -> bool:
        """Whether the file exists and was made from other inputs than the key's."""
        try:
            info = self.info(key.stage, key.shard)
        except StoreError:
            return False
        return info is not None and info.key.inputs != key.inputs

    def open(self, stage: str, shard: str) -> AbstractContextManager[pq.ParquetFile]:
        """Open the stage's file for reading.

        Raises:
            StoreError: the file does not exist, or is not parquet.
            StoreUnavailableError: its file system failed.
        """
        return self.file(stage, shard).open()

    def batches(
        self, stage: str, shard: str, columns: Iterable[str] | None = None, rows: int = IMAGE_ROW_GROUP_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """The file's rows in order, at most `rows` at a time."""
        return self.file(stage, shard).batches(columns, rows)

    def write(
        self, key: StageKey, schema: pa.Schema, replacing: ReusedFile | None = None, *, keep_others: bool = False
    ) -> StageWriter:
        """A writer for the stage's file; a context manager, see `StageWriter`."""
        return StageWriter(
            self.file(key.stage, key.shard),
            key,
            schema,
            Checkpoints(self.checkpoints, key, replacing),
            self.lock(key),
            replacing,
            keep_others=keep_others,
        )

    def prepare(self) -> None:
        """Make sure that the folder can be written to, before hours of work.

        Raises:
            StoreError: it cannot.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except Exception as error:  # of any file system's client
            raise StoreError(f"data dir {self.root} cannot be written to: {error or type(error).__name__}") from error

    def lock(self, key: StageKey) -> AbstractContextManager[None]:
        """A lock that keeps other processes on this machine from writing the same stage of the same shard; see `locked`.

        Raises:
            StoreUnavailableError: on entering, when another process is writing it.
        """
        return locked(self.checkpoints / key.stage / f"{key.shard}.lock", self.path(key.stage, key.shard))
