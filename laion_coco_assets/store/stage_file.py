"""Reading one stage's file of one shard: its metadata and its rows. Nothing is written here."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.contract.stage_info import StageInfo, StageKey
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.errors import StoreError, StoreUnavailableError, may_pass_by_itself


@dataclass(frozen=True)
class StageFile:
    """Where the file lies. Whether it exists shows when it is read."""

    path: UPath
    stage: str
    shard: str

    def info(self) -> StageInfo | None:
        """What the file's metadata tells; None when the file does not exist.

        Raises:
            StoreError: the file is damaged, or was not written by this project.
        """
        if not self.path.exists():
            return None
        with self.open() as file:
            return StageInfo.of(file, self.path)

    def need(self) -> StageInfo:
        """Like `info`, for a file that must exist.

        Raises:
            StoreError: the file does not exist, or is damaged.
        """
        info = self.info()
        if info is None:
            raise self._missing()
        return info

    def usable_info(self) -> StageInfo | None:
        """Like `info`, but also None for a damaged file: it is made again.

        Raises:
            StoreUnavailableError: its file system failed.
        """
        try:
            return self.info()
        except StoreUnavailableError:
            raise
        except StoreError:
            return None

    def is_complete(self, key: StageKey) -> bool:
        """Whether the file exists and was made with these settings from these inputs."""
        info = self.usable_info()
        return info is not None and info.key == key

    @contextmanager
    def open(self) -> Iterator[pq.ParquetFile]:
        """The file, for reading.

        Raises:
            StoreError: the file does not exist, or is not parquet.
            StoreUnavailableError: its file system failed.
        """
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            raise self._missing() from None
        with stream:
            try:
                file = pq.ParquetFile(stream)
            except (pa.ArrowInvalid, OSError) as error:
                raise self._unreadable("not a whole parquet file", error) from None
            try:
                yield file
            except (pa.ArrowException, OSError) as error:
                raise self._unreadable("damaged", error) from None

    def batches(self, columns: Iterable[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
        """The file's rows in order, at most `rows` at a time."""
        with self.open() as file:
            yield from file.iter_batches(batch_size=rows, columns=None if columns is None else list(columns))

    def _missing(self) -> StoreError:
        return StoreError(f"{self.path} does not exist: materialise {self.stage} of shard {self.shard} first")

    def _unreadable(self, how: str, error: Exception) -> StoreError:
        if isinstance(error, OSError) and may_pass_by_itself(error):
            return StoreUnavailableError(f"{self.path}: {how}, or its file system failed ({error})")
        stage = StageName.PUBLISHED if self.stage == LEDGER else self.stage  # the stage that writes the file
        return StoreError(f"{self.path}: {how} ({error}); delete it and run {stage} again")
