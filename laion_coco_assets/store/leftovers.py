"""What lies in a data folder and serves nothing any more. What is published, and its ledger, is never among it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from upath import UPath

from laion_coco_assets.contract.schemas import SCHEMAS, Stage
from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.store.checkpoints import CHECKPOINT
from laion_coco_assets.store.removed_shards import all_stages_locked, removal_times
from laion_coco_assets.store.store import ShardStore

#: Folders in which files are written before they appear, and objects that were uploaded beside their place.
_TEMPORARY: Final = re.compile(r"\.writing-\w+|\..+\.[0-9a-f]{32}")
_STAGES: Final = tuple(stage for stage in Stage if stage != Stage.PUBLISHED)


class Kind(StrEnum):
    """Why something is not needed."""

    CHECKPOINT = "checkpoint"  # of work that nobody went on with
    TEMPORARY = "temporary"  # of a process that died while it wrote
    REMOVED = "removed shard"
    OTHER_SETTINGS = "other settings"


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can go. `bytes` of all that is in it; `modified` in seconds since 1970, 0 where not known."""

    kind: Kind
    path: UPath
    bytes: int
    modified: float
    #: Whose runs may be using it, if it is a shard's.
    shard: str | None


def leftovers(store: ShardStore, before: float, wanted: Mapping[Stage, str] | None = None) -> Iterator[Leftover]:
    """What can go, of each kind in order of names.

    Nothing counts that was written to since `before` (seconds since 1970): a run that was killed later may be gone on
    with, and a trial may be under way. Files of other settings are told by `wanted`, the fingerprints of a profile.
    Of a removed shard all counts that was written before it was removed; what came later is of a shard that came back.
    """
    removed = removal_times(store)
    yield from _checkpoints(store, before, removed)
    yield from _temporary(store, before)
    for stage in _STAGES:
        for shard in store.shards(stage):
            if wanted is None and shard not in removed:
                continue
            found = _leftover(Kind.OTHER_SETTINGS, store.path(stage, shard), shard)
            old = 0 < found.modified < before
            if _was_removed(found, removed):
                yield replace(found, kind=Kind.REMOVED)
            elif wanted is not None and old and _has_other_settings(store, stage, shard, wanted[stage]):
                yield found


def _checkpoints(store: ShardStore, before: float, removed: Mapping[str, float]) -> Iterator[Leftover]:
    for stage in SCHEMAS:
        for path in _entries(store.checkpoints / stage):
            named = CHECKPOINT.fullmatch(path.name)
            if named is None:
                continue
            found = _leftover(Kind.CHECKPOINT, path, named["shard"])
            if _was_removed(found, removed):
                yield replace(found, kind=Kind.REMOVED)
            elif 0 < found.modified < before:
                yield found


def _was_removed(found: Leftover, removed: Mapping[str, float]) -> bool:
    return found.shard is not None and 0 < found.modified <= removed.get(found.shard, 0)


def _temporary(store: ShardStore, before: float) -> Iterator[Leftover]:
    for folder in (store.root, *(store.root / stage for stage in SCHEMAS)):
        for path in _entries(folder):
            if _TEMPORARY.fullmatch(path.name):
                found = _leftover(Kind.TEMPORARY, path, None)
                if 0 < found.modified < before:
                    yield found


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
    """The path, and all that is below it."""
    yield path
    if path.is_dir():
        yield from path.rglob("*")


def _entries(folder: UPath) -> list[UPath]:
    return sorted(folder.iterdir(), key=lambda each: each.name) if folder.is_dir() else []


def _has_other_settings(store: ShardStore, stage: Stage, shard: str, fingerprint: str) -> bool:
    try:
        info = store.info(stage, shard)
    except StoreUnavailableError:
        raise
    except StoreError:
        return False  # damaged, or a stranger's: not for us to judge
    return info is not None and info.key.fingerprint != fingerprint
