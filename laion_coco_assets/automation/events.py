"""What the instance's events say of shards: when each was materialised and with which settings."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from sys import intern
from typing import Final

import dagster as dg
from pydantic import Field

from laion_coco_assets.automation.memory import Kept, Memory
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.store.joining import chunks

_CODE_VERSION: Final = "dagster/code_version"
EVENTS_PER_QUERY: Final = 500
#: Events that a tick reads, at most: what it has read later ticks know.
EVENTS_PER_TICK: Final = 5000


@dataclass(frozen=True, slots=True)
class Made:
    """One materialisation."""

    code_version: str
    timestamp: float  # seconds since 1970
    skipped: bool  # the file was complete and stayed as it was


class KeptMaterialisations(Kept):
    """Materialisations as a file has them: storage id, timestamp, skipped, by code version."""

    by_code: dict[str, list[tuple[int, float, bool]]] = Field(default_factory=dict)


class Materialisations:
    """Materialisations by their event's storage id. An event never changes, so each is read once."""

    def __init__(self, schedule: str) -> None:
        self._memory = Memory(f"{schedule}.materialisations", KeptMaterialisations)
        self._known: dict[int, Made] = {}
        self._learnt = False

    def recall(
        self, instance: dg.DagsterInstance, log: logging.Logger, latest: Mapping[Stage, Mapping[str, int]]
    ) -> None:
        """Know what earlier ticks read of each shard's last materialisations, and nothing else any more."""
        kept = self._memory.recall(instance, log)
        if kept is not None:
            self._known = {
                event: Made(intern(code), timestamp, skipped)
                for code, events in kept.by_code.items()
                for event, timestamp, skipped in events
            }
        last = {event: stage for stage, events in latest.items() for event in events.values()}
        self._known = {event: made for event, made in self._known.items() if event in last}
        self._learnt = False
        if self._known:
            # A database that was emptied or exchanged gives its storage ids anew, from the lowest one that is free.
            newest = max(self._known)
            if _fetch(instance, last[newest], [newest]).get(newest) != self._known[newest]:
                log.warning(
                    "the instance's events are not those that were read: they are read anew, a part in each tick"
                )
                self._known = {}

    def get(self, event: int) -> Made | None:
        """The event's materialisation, None while it was not read."""
        return self._known.get(event)

    def read(self, instance: dg.DagsterInstance, stage: Stage, events: Iterable[int], at_most: int) -> int:
        """Read those that are not known yet, `at_most` of them; returns how many it were."""
        unread = list(islice((event for event in events if event not in self._known), at_most))
        for chunk in chunks(unread, EVENTS_PER_QUERY):
            self._known |= _fetch(instance, stage, chunk)
        self._learnt |= bool(unread)
        return len(unread)

    def keep(self, instance: dg.DagsterInstance, log: logging.Logger) -> None:
        """Let later ticks know what this one read, if it read anything."""
        if self._learnt:
            by_code: dict[str, list[tuple[int, float, bool]]] = {}
            for event, made in self._known.items():
                by_code.setdefault(made.code_version, []).append((event, made.timestamp, made.skipped))
            self._memory.keep(instance, log, KeptMaterialisations.model_construct(by_code=by_code))


def _fetch(instance: dg.DagsterInstance, stage: Stage, events: Sequence[int]) -> dict[int, Made]:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage.value), storage_ids=events)
    found = {}
    for record in instance.fetch_materializations(wanted, limit=len(events)).records:
        event = record.asset_materialization
        code = (event.tags or {}).get(_CODE_VERSION, "") if event else ""
        skipped = event is not None and "skipped" in event.metadata and bool(event.metadata["skipped"].value)
        found[record.storage_id] = Made(intern(code), record.timestamp, skipped)
    return found


def latest_materialisations(instance: dg.DagsterInstance) -> dict[Stage, Mapping[str, int]]:
    """The storage id of each shard's last materialisation, by stage."""
    return {stage: latest_events(instance, stage, dg.DagsterEventType.ASSET_MATERIALIZATION) for stage in Stage}


def latest_events(instance: dg.DagsterInstance, stage: Stage, kind: dg.DagsterEventType) -> Mapping[str, int]:
    """The storage id of each shard's last event of a kind."""
    # An index of the database alone answers this; its query for attempts without a materialisation reads whole events.
    return instance.event_log_storage.get_latest_storage_id_by_partition(dg.AssetKey(stage.value), kind)
