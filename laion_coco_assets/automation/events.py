"""What the instance's events say of shards: when each was materialised and with which settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from sys import intern
from typing import Final

import dagster as dg

from laion_coco_assets.shards.joining import chunks
from laion_coco_assets.shards.schemas import Stage

_CODE_VERSION: Final = "dagster/code_version"
EVENTS_PER_QUERY: Final = 500
#: Events that a tick reads, at most: what it has read it knows for as long as the process lives.
EVENTS_PER_TICK: Final = 5000


@dataclass(frozen=True, slots=True)
class Made:
    """One materialisation."""

    code_version: str
    timestamp: float  # seconds since 1970
    skipped: bool  # the file was complete and stayed as it was


class Materialisations:
    """Materialisations by their event's storage id. An event never changes, so each is read once."""

    def __init__(self) -> None:
        self._known: dict[int, Made] = {}

    def get(self, event: int) -> Made | None:
        """The event's materialisation, None while it was not read."""
        return self._known.get(event)

    def read(self, instance: dg.DagsterInstance, stage: Stage, events: Iterable[int], at_most: int) -> int:
        """Read those that are not known yet, `at_most` of them; returns how many it were."""
        unread = list(islice((event for event in events if event not in self._known), at_most))
        for chunk in chunks(unread, EVENTS_PER_QUERY):
            wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage.value), storage_ids=chunk)
            for record in instance.fetch_materializations(wanted, limit=len(chunk)).records:
                event = record.asset_materialization
                code = (event.tags or {}).get(_CODE_VERSION, "") if event else ""
                skipped = event is not None and "skipped" in event.metadata and bool(event.metadata["skipped"].value)
                self._known[record.storage_id] = Made(intern(code), record.timestamp, skipped)
        return len(unread)


def latest_materialisations(instance: dg.DagsterInstance) -> dict[Stage, Mapping[str, int]]:
    """The storage id of each shard's last materialisation, by stage."""
    return {stage: latest_events(instance, stage, dg.DagsterEventType.ASSET_MATERIALIZATION) for stage in Stage}


def latest_events(instance: dg.DagsterInstance, stage: Stage, kind: dg.DagsterEventType) -> Mapping[str, int]:
    """The storage id of each shard's last event of a kind."""
    # An index of the database alone answers this; its query for attempts without a materialisation reads whole events.
    return instance.event_log_storage.get_latest_storage_id_by_partition(dg.AssetKey(stage.value), kind)
