"""A schedule's cache of what files of fetched images hold. Each version of a file is opened once, a bounded number a tick."""

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import dagster as dg
from pydantic import Field

from laion_coco_assets.assets.refetch import wanted_rows
from laion_coco_assets.automation.state_file import State, StateFile
from laion_coco_assets.contract.reasons import TRANSIENT
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.sources.files import list_folder, version_of
from laion_coco_assets.store.store import ShardStore

_STAGE: Final = StageName.FETCHED_IMAGES
#: A tick opens at most this many files.
FILES_PER_TICK: Final = 200


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """What a shard's file holds: rows worth fetching again, how often that was done, and its age."""

    transient: int
    refetches: int
    written: float = 0.0  # seconds since 1970


class FileState(State):
    """The cache of one data folder in its file."""

    #: Version, then as in `FetchedFile`, by shard.
    known: dict[str, tuple[str, int, int, float]] = Field(default_factory=dict)
    unreadable: dict[str, str] = Field(default_factory=dict)


class FileCache:
    """What files hold, by their versions."""

    def __init__(self, schedule: str) -> None:
        self._file = StateFile(f"{schedule}.files", FileState)
        self.known: dict[str, tuple[str, FetchedFile]] = {}
        self.unreadable: dict[str, str] = {}  # the one tried longest ago first

    def load(
        self, instance: dg.DagsterInstance, log: logging.Logger, store: ShardStore, existing: Collection[str]
    ) -> None:
        """Take up what earlier ticks read of these shards' files, and drop the rest."""
        state = self._file.load(instance, log, _scope(store))
        if state is not None:
            self.known = {
                shard: (version, FetchedFile(transient, refetches, written))
                for shard, (version, transient, refetches, written) in state.known.items()
            }
            self.unreadable = dict(state.unreadable)
        if existing:  # else the folder is away, and may come back as it was
            self.known = {shard: known for shard, known in self.known.items() if shard in existing}
            self.unreadable = {shard: version for shard, version in self.unreadable.items() if shard in existing}

    def save(self, instance: dg.DagsterInstance, log: logging.Logger, store: ShardStore) -> None:
        """Let later ticks have what is known."""
        known = {
            shard: (version, file.transient, file.refetches, file.written)
            for shard, (version, file) in self.known.items()
        }
        state = FileState.model_construct(known=known, unreadable=self.unreadable)
        self._file.save(instance, log, state, _scope(store))


class FileReader:
    """Reads the files of a data folder for one tick, those alone that the cache does not have."""

    def __init__(self, instance: dg.DagsterInstance, log: logging.Logger, store: ShardStore, cache: FileCache) -> None:
        self._instance = instance
        self._log = log
        self._store = store
        self._cache = cache
        self._versions = _versions(store)
        cache.load(instance, log, store, self._versions)
        self.opened = 0
        self.problems: list[str] = []

    def read(self, shards: Iterable[str]) -> Iterator[tuple[str, FetchedFile]]:
        """Each shard with its file, if it exists. Files beyond the tick's bound are left out; a later tick reads them.

        Files that could not be read, and have not changed since, come last: else they would use up every tick.
        """
        failed_before = set()
        for shard in shards:
            if shard in self._versions and self._cache.unreadable.get(shard) == self._versions[shard]:
                failed_before.add(shard)
            elif file := self._file(shard):
                yield shard, file
        for shard in [shard for shard in self._cache.unreadable if shard in failed_before]:
            if file := self._file(shard):
                yield shard, file

    def save(self) -> None:
        """Let later ticks have what this one read, if it opened a file."""
        if self.opened:
            self._cache.save(self._instance, self._log, self._store)

    def _file(self, shard: str) -> FetchedFile | None:
        version = self._versions.get(shard)
        if version is None:  # deleted, to make room perhaps
            return None
        known, file = self._cache.known.get(shard, ("", None))
        if known == version:
            return file
        if self.opened == FILES_PER_TICK:
            return None
        self.opened += 1
        self._cache.unreadable.pop(shard, None)
        try:
            file = _read(self._store, shard)
        except StoreError as error:
            self.problems.append(str(error))
            self._cache.unreadable[shard] = version
            return None
        self._cache.known[shard] = (version, file)
        return file


def _scope(store: ShardStore) -> str:
    """The data folder: two deployments may share an instance."""
    return str(store.root.absolute())


def _read(store: ShardStore, shard: str) -> FetchedFile:
    info = store.need(_STAGE, shard)
    if info.metadata.get("brings_images"):  # nothing can be fetched again
        return FetchedFile(transient=0, refetches=0)
    written = store.path(_STAGE, shard).stat().st_mtime
    return FetchedFile(wanted_rows(store, shard, TRANSIENT), len(info.metadata.get("refetches", [])), written)


def _versions(store: ShardStore) -> dict[str, str]:
    """The version of each shard's file, from one listing: to ask an object store about each file would take minutes."""
    folder = store.root / _STAGE
    folder.fs.invalidate_cache()  # clients of object stores keep listings
    try:
        listed = list_folder(folder)
    except FileNotFoundError:
        return {}
    return {path.stem: version_of(info) for path, info in listed if path.suffix == ".parquet"}
