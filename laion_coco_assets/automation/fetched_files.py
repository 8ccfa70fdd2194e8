"""What files of fetched images say, for a schedule: each version of a file is opened once, so many a tick at most."""

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import dagster as dg
from pydantic import Field

from laion_coco_assets.assets.refetch import wanted_rows
from laion_coco_assets.automation.memory import Kept, Memory
from laion_coco_assets.contract.reasons import TRANSIENT
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.errors import StoreError
from laion_coco_assets.sources.source import list_folder, version_of
from laion_coco_assets.store.store import ShardStore

_STAGE: Final = Stage.FETCHED_IMAGES
#: Files that a tick opens, at most.
FILES_PER_TICK: Final = 200


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """What a shard's file says: rows worth asking for again, how often that was done, its age."""

    transient: int
    refetches: int
    written: float = 0.0  # seconds since 1970


class KeptFiles(Kept):
    """What is known of a data folder's files, as a file has it."""

    #: Version, then as in `FetchedFile`, by shard.
    known: dict[str, tuple[str, int, int, float]] = Field(default_factory=dict)
    unreadable: dict[str, str] = Field(default_factory=dict)


class FetchedFiles:
    """What is known of files, by their versions."""

    def __init__(self, schedule: str) -> None:
        self._memory = Memory(f"{schedule}.files", KeptFiles)
        self.known: dict[str, tuple[str, FetchedFile]] = {}
        self.unreadable: dict[str, str] = {}  # the one tried longest ago first

    def recall(
        self, instance: dg.DagsterInstance, log: logging.Logger, store: ShardStore, there: Collection[str]
    ) -> None:
        """Know what earlier ticks read of the shards' files that are there, and nothing else any more."""
        kept = self._memory.recall(instance, log, _name(store))
        if kept is not None:
            self.known = {
                shard: (version, FetchedFile(transient, refetches, written))
                for shard, (version, transient, refetches, written) in kept.known.items()
            }
            self.unreadable = dict(kept.unreadable)
        if there:  # else the folder is away, and may come back as it was
            self.known = {shard: known for shard, known in self.known.items() if shard in there}
            self.unreadable = {shard: version for shard, version in self.unreadable.items() if shard in there}

    def keep(self, instance: dg.DagsterInstance, log: logging.Logger, store: ShardStore) -> None:
        """Let later ticks know what is known."""
        known = {
            shard: (version, file.transient, file.refetches, file.written)
            for shard, (version, file) in self.known.items()
        }
        kept = KeptFiles.model_construct(known=known, unreadable=self.unreadable)
        self._memory.keep(instance, log, kept, _name(store))


class Look:
    """One tick's look at the files of a data folder, over what is known of them."""

    def __init__(
        self, instance: dg.DagsterInstance, log: logging.Logger, store: ShardStore, files: FetchedFiles
    ) -> None:
        self._instance = instance
        self._log = log
        self._store = store
        self._files = files
        self._versions = _versions(store)
        files.recall(instance, log, store, self._versions)
        self.opened = 0
        self.problems: list[str] = []

    def at(self, shards: Iterable[str]) -> Iterator[tuple[str, FetchedFile]]:
        """Each shard's file, if there is one; those beyond the bound are left out, a later tick gets to them.

        One that could not be read comes last, when it is still the same: else such files would use up every tick.
        """
        failed_before = set()
        for shard in shards:
            if shard in self._versions and self._files.unreadable.get(shard) == self._versions[shard]:
                failed_before.add(shard)
            elif file := self._file(shard):
                yield shard, file
        for shard in [each for each in self._files.unreadable if each in failed_before]:
            if file := self._file(shard):
                yield shard, file

    def keep(self) -> None:
        """Let later ticks know what this one read, if it opened a file."""
        if self.opened:
            self._files.keep(self._instance, self._log, self._store)

    def _file(self, shard: str) -> FetchedFile | None:
        version = self._versions.get(shard)
        if version is None:  # cleared away to make room, it may be
            return None
        known, file = self._files.known.get(shard, ("", None))
        if known == version:
            return file
        if self.opened == FILES_PER_TICK:
            return None
        self.opened += 1
        self._files.unreadable.pop(shard, None)
        try:
            file = _read(self._store, shard)
        except StoreError as error:
            self.problems.append(str(error))
            self._files.unreadable[shard] = version
            return None
        self._files.known[shard] = (version, file)
        return file


def _name(store: ShardStore) -> str:
    """Of the data folder: two deployments may share an instance."""
    return str(store.root.absolute())


def _read(store: ShardStore, shard: str) -> FetchedFile:
    info = store.need(_STAGE, shard)
    if info.metadata.get("brings_images"):  # there is nothing to ask again for
        return FetchedFile(transient=0, refetches=0)
    written = store.path(_STAGE, shard).stat().st_mtime
    return FetchedFile(wanted_rows(store, shard, TRANSIENT), len(info.metadata.get("refetches", [])), written)


def _versions(store: ShardStore) -> dict[str, str]:
    """The version of each shard's file, from one listing: a question for each file would take an object store minutes."""
    folder = store.root / _STAGE
    folder.fs.invalidate_cache()  # clients of object stores keep listings
    try:
        listed = list_folder(folder)
    except FileNotFoundError:
        return {}
    return {path.stem: version_of(info) for path, info in listed if path.suffix == ".parquet"}
