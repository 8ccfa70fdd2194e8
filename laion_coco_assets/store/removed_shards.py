"""Shards that were removed: deleting their files, and a note for each that keeps the sensor from registering it again."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from upath import UPath

from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.store.checkpoints import CHECKPOINT
from laion_coco_assets.store.store import ShardStore

#: One empty file a shard, so two processes that write at once have nothing to merge.
_NOTES: Final = ".removed"


def removed_shards(store: ShardStore) -> frozenset[str]:
    """Shards that were removed and not added again."""
    folder = store.root / _NOTES
    return frozenset(note.name for note in folder.iterdir()) if folder.is_dir() else frozenset()


def removal_times(store: ShardStore) -> dict[str, float]:
    """When each of these shards was removed, in seconds since 1970 by the clock of the data folder's file system."""
    return {shard: (store.root / _NOTES / shard).stat().st_mtime for shard in removed_shards(store)}


def note_removed(store: ShardStore, shards: Iterable[str]) -> None:
    """Note that the sensor must not register these shards."""
    folder = store.root / _NOTES
    folder.mkdir(parents=True, exist_ok=True)
    for shard in shards:
        (folder / shard).write_bytes(b"")


def note_added(store: ShardStore, shards: Iterable[str]) -> None:
    """Delete the notes of these shards: they are back."""
    for shard in removed_shards(store).intersection(shards):
        (store.root / _NOTES / shard).unlink(missing_ok=True)


def shard_files(store: ShardStore, shard: str) -> Iterator[UPath]:
    """The shard's stage files, published ones first, then the folders of its checkpoints."""
    for stage in reversed(store.stages):
        path = store.path(stage, shard)
        if path.exists():
            yield path
    for stage in store.stages:
        folder = store.checkpoints / stage
        for path in folder.iterdir() if folder.is_dir() else ():
            match = CHECKPOINT.fullmatch(path.name)
            if match and match["shard"] == shard:
                yield path


@contextmanager
def all_stages_locked(store: ShardStore, shard: str) -> Iterator[None]:
    """Keep other processes on this machine from making any stage of the shard, and so from reading its files to do so.

    Raises:
        StoreUnavailableError: a process is making one of the stages.
    """
    with ExitStack() as locks:
        for stage in store.stages:
            locks.enter_context(store.lock(StageKey(stage, shard, "")))
        yield


def delete_files(store: ShardStore, shard: str) -> int:
    """Delete the shard's stage files, its ledger and its checkpoints; returns how many were deleted.

    Raises:
        StoreUnavailableError: a process on this machine is writing one of them. Nothing was deleted.
    """
    with all_stages_locked(store, shard):
        count = 0
        for path in shard_files(store, shard):
            path.fs.rm(path.path, recursive=True)
            count += 1
        return count
