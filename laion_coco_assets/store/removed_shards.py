"""Shards that were taken out: their files deleted, and a note that keeps the sensor from registering them again."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from upath import UPath

from laion_coco_assets.contract.schemas import SCHEMAS
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.store.checkpoints import CHECKPOINT
from laion_coco_assets.store.store import ShardStore

#: One empty file a shard: nothing to merge when two processes write at once.
_NOTES: Final = ".removed"


def removed_shards(store: ShardStore) -> frozenset[str]:
    """Shards that were removed and not added again."""
    folder = store.root / _NOTES
    return frozenset(each.name for each in folder.iterdir()) if folder.is_dir() else frozenset()


def removal_times(store: ShardStore) -> dict[str, float]:
    """When each of these shards was removed, in seconds since 1970 by the clock of the data folder's file system."""
    return {shard: (store.root / _NOTES / shard).stat().st_mtime for shard in removed_shards(store)}


def note_removed(store: ShardStore, shards: Iterable[str]) -> None:
    """Remember that these shards are not to be registered by themselves."""
    folder = store.root / _NOTES
    folder.mkdir(parents=True, exist_ok=True)
    for shard in shards:
        (folder / shard).write_bytes(b"")


def note_added(store: ShardStore, shards: Iterable[str]) -> None:
    """Forget that these shards were removed."""
    for shard in removed_shards(store).intersection(shards):
        (store.root / _NOTES / shard).unlink(missing_ok=True)


def shard_files(store: ShardStore, shard: str) -> Iterator[UPath]:
    """The shard's stage files, what is published first, and the folders of its checkpoints."""
    for stage in reversed(SCHEMAS):
        path = store.path(stage, shard)
        if path.exists():
            yield path
    for stage in SCHEMAS:
        folder = store.checkpoints / stage
        for each in folder.iterdir() if folder.is_dir() else ():
            named = CHECKPOINT.fullmatch(each.name)
            if named and named["shard"] == shard:
                yield each


@contextmanager
def all_stages_locked(store: ShardStore, shard: str) -> Iterator[None]:
    """Keeps other processes on this machine from making any stage of the shard, and so from reading for it.

    Raises:
        StoreUnavailableError: one is making one of them.
    """
    with ExitStack() as locks:
        for stage in SCHEMAS:
            locks.enter_context(store.lock(StageKey(stage, shard, "")))
        yield


def delete_files(store: ShardStore, shard: str) -> int:
    """Delete the shard's stage files, its ledger and its checkpoints; returns how many there were.

    Raises:
        StoreUnavailableError: a process on this machine is writing one of them; nothing was deleted then.
    """
    with all_stages_locked(store, shard):
        count = 0
        for path in shard_files(store, shard):
            path.fs.rm(path.path, recursive=True)
            count += 1
        return count
