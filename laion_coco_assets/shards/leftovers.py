"""What lies in a data folder and serves nothing any more. What is published, and its ledger, is never among it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from upath import UPath

from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.shards.removed import removal_times
from laion_coco_assets.shards.schemas import SCHEMAS, Stage
from laion_coco_assets.shards.store import CHECKPOINT, ShardStore, StageKey

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
    #: Whose writer would be using it, if it is a stage's of a shard.
    key: StageKey | None


def leftovers(store: ShardStore, before: float, wanted: Mapping[Stage, str] | None = None) -> Iterator[Leftover]:
    """What can go, of each kind in order of names.

    Checkpoints and temporary files count when nothing was written to them since `before` (seconds since 1970): a run
    that was killed later may be gone on with. Files of other settings are told by `wanted`, the fingerprints of a profile.
    What was written to after its shard was removed is of a shard that came back.
    """
    removed = removal_times(store)
    yield from _checkpoints(store, before, removed)
    yield from _temporary(store, before)
    for stage in _STAGES:
        for shard in store.shards(stage):
            key = StageKey(stage, shard, "")
            found = _leftover(Kind.REMOVED, store.path(stage, shard), key)
            if _was_removed(found, shard, removed):
                yield found
            elif wanted is not None and _has_other_settings(store, stage, shard, wanted[stage]):
                yield _leftover(Kind.OTHER_SETTINGS, store.path(stage, shard), key)


def _checkpoints(store: ShardStore, before: float, removed: Mapping[str, float]) -> Iterator[Leftover]:
    for stage in SCHEMAS:
        for path in _entries(store.checkpoints / stage):
            named = CHECKPOINT.fullmatch(path.name)
            if named is None:
                continue
            found = _leftover(Kind.CHECKPOINT, path, StageKey(stage, named["shard"], ""))
            if _was_removed(found, named["shard"], removed):
                yield replace(found, kind=Kind.REMOVED)
            elif 0 < found.modified < before:
                yield found


def _was_removed(found: Leftover, shard: str, removed: Mapping[str, float]) -> bool:
    return 0 < found.modified <= removed.get(shard, 0)


def _temporary(store: ShardStore, before: float) -> Iterator[Leftover]:
    for folder in (store.root, *(store.root / stage for stage in SCHEMAS)):
        for path in _entries(folder):
            if _TEMPORARY.fullmatch(path.name):
                found = _leftover(Kind.TEMPORARY, path, None)
                if 0 < found.modified < before:
                    yield found


def delete(store: ShardStore, leftover: Leftover) -> bool:
    """Delete it, unless it is being written or was since it was found; returns whether it is gone."""
    with ExitStack() as held:
        if leftover.key is not None:
            try:
                held.enter_context(store.lock(leftover.key))
            except StoreUnavailableError:
                return False
        if not leftover.path.exists() or _modified(_files(leftover.path)) != leftover.modified:
            return False
        leftover.path.fs.rm(leftover.path.path, recursive=True)
        return True


def _leftover(kind: Kind, path: UPath, key: StageKey | None) -> Leftover:
    files = list(_files(path))
    return Leftover(kind, path, sum(file.stat().st_size for file in files if file.is_file()), _modified(files), key)


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
