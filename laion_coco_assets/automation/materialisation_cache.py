"""A schedule's cache of materialisations: with which settings each shard was made last, and when."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from sys import intern
from typing import Final

import dagster as dg
from pydantic import Field

from laion_coco_assets.automation.state_file import State, StateFile
from laion_coco_assets.orchestration import records
from laion_coco_assets.store.joining import chunks

EVENTS_PER_QUERY: Final = 500
#: A tick reads at most this many events. Later ticks have them in the cache and read others.
EVENTS_PER_TICK: Final = 5000


@dataclass(frozen=True, slots=True)
class CachedMaterialisation:
    """What a schedule needs of one materialisation."""

    code_version: str
    timestamp: float  # seconds since 1970
    skipped: bool  # the file was complete and stayed as it was


class MaterialisationState(State):
    """The cache in its file: storage id, timestamp and skipped of each materialisation, by code version."""

    by_code: dict[str, list[tuple[int, float, bool]]] = Field(default_factory=dict)


class MaterialisationCache:
    """Materialisations by the storage id of their event. An event never changes, so each is read once."""

    def __init__(self, schedule: str) -> None:
        self._file = StateFile(f"{schedule}.materialisations", MaterialisationState)
        self._cached: dict[int, CachedMaterialisation] = {}
        self._changed = False

    def load(self, instance: dg.DagsterInstance, log: logging.Logger, latest: Mapping[str, Mapping[str, int]]) -> None:
        """Take up what earlier ticks read of the `latest` materialisations (storage id, by stage and shard), and drop the rest."""
        state = self._file.load(instance, log)
        if state is not None:
            self._cached = {
                event: CachedMaterialisation(intern(code), timestamp, skipped)
                for code, events in state.by_code.items()
                for event, timestamp, skipped in events
            }
        stages = {event: stage for stage, events in latest.items() for event in events.values()}
        self._cached = {event: cached for event, cached in self._cached.items() if event in stages}
        self._changed = False
        if self._cached:
            # A database that was emptied or exchanged gives its storage ids again, from the lowest free one on.
            newest = max(self._cached)
            if _read(instance, stages[newest], [newest]).get(newest) != self._cached[newest]:
                log.warning("the instance has other events than before: they are all read again, part by part")
                self._cached = {}

    def get(self, event: int) -> CachedMaterialisation | None:
        """The event's materialisation; None while it has not been read."""
        return self._cached.get(event)

    def read(self, instance: dg.DagsterInstance, stage: str, events: Iterable[int], at_most: int) -> int:
        """Read up to `at_most` of the events that are not cached; returns how many were read."""
        unread = list(islice((event for event in events if event not in self._cached), at_most))
        for chunk in chunks(unread, EVENTS_PER_QUERY):
            self._cached |= _read(instance, stage, chunk)
        self._changed |= bool(unread)
        return len(unread)

    def save(self, instance: dg.DagsterInstance, log: logging.Logger) -> None:
        """Let later ticks have what this one read, if it read anything."""
        if self._changed:
            by_code: dict[str, list[tuple[int, float, bool]]] = {}
            for event, cached in self._cached.items():
                by_code.setdefault(cached.code_version, []).append((event, cached.timestamp, cached.skipped))
            self._file.save(instance, log, MaterialisationState.model_construct(by_code=by_code))


def _read(instance: dg.DagsterInstance, stage: str, events: Sequence[int]) -> dict[int, CachedMaterialisation]:
    return {
        event: CachedMaterialisation(
            intern(made.code_version),
            made.timestamp,
            "skipped" in made.metadata and bool(made.metadata["skipped"].value),
        )
        for event, made in records.materialisations(instance, stage, events).items()
    }
