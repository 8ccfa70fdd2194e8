"""Files in a data folder that nothing needs any more. Published files and ledgers are never among them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from upath import UPath

from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.store.checkpoints import CHECKPOINT
from laion_coco_assets.store.removed_shards import all_stages_locked, removal_times
from laion_coco_assets.store.store import ShardStore

#: Folders in which files are written before they appear, and uploads that were not moved to their name yet.
_TEMPORARY: Final = re.compile(r"\.writing-\w+|\..+\.[0-9a-f]{32}")
_KEPT: Final = (StageName.PUBLISHED, LEDGER)


class Kind(StrEnum):
    """Why something is not needed."""

    CHECKPOINT = "checkpoint"  # of work that nobody resumed
    TEMPORARY = "temporary"  # of a process that died while it wrote
    REMOVED = "removed shard"
    OTHER_SETTINGS = "other settings"


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can be deleted. `bytes` counts all files in it; `modified` is in seconds since 1970, 0 if unknown."""

    kind: Kind
    path: UPath
    bytes: int
    modified: float
    #: The shard that it belongs to, whose runs may be using it; None for what belongs to no shard.
    shard: str | None


def leftovers(store: ShardStore, before: float, wanted: Mapping[str, str] | None = None) -> Iterator[Leftover]:
    """What can be deleted, each kind in order of names.

    Of a removed shard that is everything written before the removal; what is newer belongs to a shard that came back.

    Args:
        store: where to look.
        before: seconds since 1970. What was written to since then stays, unless its shard was removed: somebody may
            still resume a run that was killed, and a trial may be in progress.
        wanted: the fingerprints of a profile. With them, files of other settings can be deleted, too.
    """
    removed = removal_times(store)
    yield from _checkpoints(store, before, removed)
    yield from _temporary(store, before)
    for stage in (stage for stage in store.stages if stage not in _KEPT):
        for shard in store.shards(stage):
            if wanted is None and shard not in removed:
                continue
            leftover = _leftover(Kind.OTHER_SETTINGS, store.path(stage, shard), shard)
            old = 0 < leftover.modified < before
            if _was_removed(leftover, removed):
                yield replace(leftover, kind=Kind.REMOVED)
            elif wanted is not None and old and _has_other_settings(store, stage, shard, wanted.get(stage)):
                yield leftover


def _checkpoints(store: ShardStore, before: float, removed: Mapping[str, float]) -> Iterator[Leftover]:
    for stage in store.stages:
        for path in _entries(store.checkpoints / stage):
            match = CHECKPOINT.fullmatch(path.name)
            if match is None:
                continue
            leftover = _leftover(Kind.CHECKPOINT, path, match["shard"])
            if _was_removed(leftover, removed):
                yield replace(leftover, kind=Kind.REMOVED)
            elif 0 < leftover.modified < before:
                yield leftover


def _was_removed(leftover: Leftover, removed: Mapping[str, float]) -> bool:
    return leftover.shard is not None and 0 < leftover.modified <= removed.get(leftover.shard, 0)


def _temporary(store: ShardStore, before: float) -> Iterator[Leftover]:
    for folder in (store.root, *(store.root / stage for stage in store.stages)):
        for path in _entries(folder):
            if _TEMPORARY.fullmatch(path.name):
                leftover = _leftover(Kind.TEMPORARY, path, None)
                if 0 < leftover.modified < before:
                    yield leftover


def delete(store: ShardStore, leftover: Leftover) -> bool:
    """Delete it, unless a stage of its shard is being made or it was written since; returns whether it is gone."""
    with ExitStack() as held:
        if leftover.shard is not None:
            try:
                held.enter_context(all_stages_locked(store, leftover.shard))  # who makes a stage reads those before it
            except StoreUnavailableError:
                return False
        if not leftover.path.exists() or _modified(_files(leftover.path)) != leftover.modified:
            return False
        leftover.path.fs.rm(leftover.path.path, recursive=True)
        return True


def _leftover(kind: Kind, path: UPath, shard: str | None) -> Leftover:
    files = list(_files(path))
    return Leftover(kind, path, sum(file.stat().st_size for file in files if file.is_file()), _modified(files), shard)


def _modified(files: Iterable[UPath]) -> float:
    return max((file.stat().st_mtime for file in files), default=0.0)


def _files(path: UPath) -> Iterator[UPath]:
    """The path, and everything below it."""
    yield path
    if path.is_dir():
        yield from path.rglob("*")


def _entries(folder: UPath) -> list[UPath]:
    return sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []


def _has_other_settings(store: ShardStore, stage: str, shard: str, fingerprint: str | None) -> bool:
    try:
        info = store.info(stage, shard)
    except StoreUnavailableError:
        raise
    except StoreError:
        return False  # damaged, or not written by this project: its settings are unknown
    return info is not None and fingerprint is not None and info.key.fingerprint != fingerprint
