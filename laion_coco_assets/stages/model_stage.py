"""A stage whose rows a model makes, each from its sample alone.

A refetch leaves the rows of existing images unchanged. So if the stage's existing file was made with the same settings,
models and device, the new file carries its rows over, bit for bit, and only the rows of new images are made.
"""

import json
from abc import abstractmethod
from collections.abc import Container, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, Final

import pyarrow as pa

from laion_coco_assets.contract.stage_info import ReusedFile, StageInfo, StageKey
from laion_coco_assets.stages.protocols import Models
from laion_coco_assets.stages.row_order import merged, without_first
from laion_coco_assets.stages.stage import Rows, Stage
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore

_MODEL_KEYS: Final = ("models", "device")


class ModelStage(Stage):
    """A stage that a model makes, one sample at a time, on the deployment's device."""

    kinds: ClassVar[frozenset[str]] = frozenset({"pytorch", "parquet"})
    pool: ClassVar[str | None] = "gpu"
    resources: ClassVar[frozenset[str]] = frozenset({"models"})

    @abstractmethod
    def row_numbers(self) -> Iterator[int]:
        """`row` of each row that the file will have, ascending."""

    @abstractmethod
    def make(self, done: int, kept: Container[int]) -> Iterator[Rows]:
        """The rows in order, except those whose `row` is in `kept`, without the first `done` of the others."""

    @abstractmethod
    def models_used(self) -> Mapping[str, Mapping[str, str]]:
        """Name and revision of each model that was loaded, by its role."""

    @property
    def models(self) -> Models:
        """The models on the deployment's device."""
        models: Models = self.run.resources["models"]
        return models

    def total(self) -> int:
        """See `Stage`."""
        return sum(1 for _ in self.row_numbers())

    def rows(self, done: int) -> Iterator[Rows | pa.RecordBatch]:
        """See `Stage`."""
        if self._existing is None:
            return self.make(done, frozenset())
        kept = frozenset(row["row"] for row in stage_rows(self.store, self.name, self.shard, ["row"]))
        made = sum(number not in kept for number in islice(self.row_numbers(), done))
        carried_over = without_first(self.store.batches(self.name, self.shard), done - made)
        return merged(carried_over, self.make(made, kept))

    def metadata(self) -> Mapping[str, Any]:
        """See `Stage`. A file with rows carried over lists the contents that they came from, for the next stage."""
        info = self._existing
        if info is None:
            return self._made_with
        return {**self._made_with, "extends": contents_held(info), "rows_kept": info.rows}

    def carries_over_from(self) -> ReusedFile | None:
        """See `Stage`. Parts from another device, or of which some rows are not this file's, are never resumed."""
        info = self._existing
        if info is None:
            return None
        made_with = [info.metadata.get(name) for name in _MODEL_KEYS]
        return ReusedFile(info.content, json.dumps(made_with, sort_keys=True))

    @cached_property
    def _made_with(self) -> dict[str, Any]:
        models = self.models_used()
        return {"models": models, "device": self.models.where()} if models else {}

    @cached_property
    def _existing(self) -> StageInfo | None:
        """The existing file, if its rows can be carried over."""
        info = extended(self.store, self.key, self.reads)
        if info is None or any(info.metadata.get(name) != self._made_with.get(name) for name in _MODEL_KEYS):
            return None
        return info


def extended(store: ShardStore, key: StageKey, reads: Container[str]) -> StageInfo | None:
    """The existing file, if the one that `key` asks for has all its rows and more; else None.

    It was made with the same settings, from files of the stages `reads` that the current ones extend. What else it was
    made from is unchanged.

    Raises:
        StoreUnavailableError: a file's file system failed.
    """
    info = store.usable_info(key.stage, key.shard)
    if info is None or info.key.fingerprint != key.fingerprint or info.key.inputs.keys() != key.inputs.keys():
        return None
    for name, content in key.inputs.items():
        before = info.key.inputs[name]
        if before != content and not (name in reads and before in contents_held(store.need(name, key.shard))):
            return None
    return info


def contents_held(info: StageInfo) -> list[str]:
    """Content digests of the file and of earlier files whose rows it has (of `fetched_images`: rows with images)."""
    refetched = [refetch["content"] for refetch in info.metadata.get("refetches", [])]
    return [info.content, *info.metadata.get("extends", []), *refetched]
